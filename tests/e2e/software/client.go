// A client in Go (1.19 or newer), by net/http: `client URL BYTES get|all`. Prints ok.
package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
)

// A reader of bytes i % 251.
type pattern struct{ at, end int }

func (p *pattern) Read(into []byte) (int, error) {
	if p.at == p.end {
		return 0, io.EOF
	}
	n := p.end - p.at
	if n > len(into) {
		n = len(into)
	}
	for i := range into[:n] {
		into[i] = byte((p.at + i) % 251)
	}
	p.at += n
	return n, nil
}

func sha(from io.Reader) string {
	sum := sha256.New()
	if _, err := io.Copy(sum, from); err != nil {
		panic(err)
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}

func expect(got, want string, what string) {
	if got != want {
		panic(what + ": " + got + ", not " + want)
	}
}

func main() {
	url, what := os.Args[1], os.Args[3]
	size, _ := strconv.Atoi(os.Args[2])
	get := func(path string, n int) {
		response, err := http.Get(url + path)
		if err != nil {
			panic(err)
		}
		defer response.Body.Close()
		expect(response.Status, "200 OK", path)
		expect(sha(response.Body), sha(&pattern{0, n}), path)
	}
	post := func(body io.Reader, expects bool) {
		request, _ := http.NewRequest("POST", url+"/sha", body)
		if expects {
			request.Header.Set("Expect", "100-continue")
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			panic(err)
		}
		defer response.Body.Close()
		text, _ := io.ReadAll(response.Body)
		expect(string(text), sha(&pattern{0, size}), "POST")
	}
	var group sync.WaitGroup
	for i := 0; i < 10; i++ {
		group.Add(1)
		go func() { defer group.Done(); get("/bytes/1000", 1000) }()
	}
	group.Wait()
	get("/bytes/"+os.Args[2], size)
	if what == "all" {
		get("/stream/"+os.Args[2], size)
		whole, _ := io.ReadAll(&pattern{0, size})
		post(bytes.NewReader(whole), false)
		post(&pattern{0, size}, false)
		post(&pattern{0, size}, true)
	}
	fmt.Println("ok")
}
