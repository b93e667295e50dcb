// A server in Go, by net/http. Prints its port.
package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
)

var block [251 * 256]byte

func pattern(out io.Writer, n int) {
	for ; n > 0; n -= len(block) {
		out.Write(block[:min(n, len(block))])
	}
}

func main() {
	for i := range block {
		block[i] = byte(i % 251)
	}
	http.HandleFunc("/bytes/{n}", func(out http.ResponseWriter, request *http.Request) {
		out.Header().Set("Content-Length", request.PathValue("n"))
		n, _ := strconv.Atoi(request.PathValue("n"))
		pattern(out, n)
	})
	http.HandleFunc("/stream/{n}", func(out http.ResponseWriter, request *http.Request) {
		n, _ := strconv.Atoi(request.PathValue("n"))
		out.(http.Flusher).Flush()
		pattern(out, n)
	})
	http.HandleFunc("/sha", func(out http.ResponseWriter, request *http.Request) {
		sum := sha256.New()
		if _, err := io.Copy(sum, request.Body); err != nil {
			panic(err)
		}
		fmt.Fprintf(out, "%x", sum.Sum(nil))
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	panic(http.Serve(listener, nil))
}
