-- A connection for each request: GET with `Connection: close`. The path comes from the URL.
--
--   taskset -c 1 wrk -t1 -c64 -d3 --latency -s bench/wrk/close.lua http://127.0.0.1:8080/1k
--
-- Every request takes a client port. On loopback the kernel takes ports back after a second
-- (net.ipv4.tcp_tw_reuse = 2, the default), so the 28,000 ports do not run out.
wrk.method = "GET"
wrk.headers["Connection"] = "close"
