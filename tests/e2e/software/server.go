// A server in Go (1.19 or newer), by net/http. Prints its port.
package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
)

var block [251 * 256]byte

func pattern(out io.Writer, n int) {
	for ; n > len(block); n -= len(block) {
		out.Write(block[:])
	}
	out.Write(block[:n])
}

func main() {
	for i := range block {
		block[i] = byte(i % 251)
	}
	http.HandleFunc("/bytes/", func(out http.ResponseWriter, request *http.Request) {
		length := strings.TrimPrefix(request.URL.Path, "/bytes/")
		out.Header().Set("Content-Length", length)
		n, _ := strconv.Atoi(length)
		pattern(out, n)
	})
	http.HandleFunc("/stream/", func(out http.ResponseWriter, request *http.Request) {
		n, _ := strconv.Atoi(strings.TrimPrefix(request.URL.Path, "/stream/"))
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
