-- POST of 1 KiB with a Content-Length, keep-alive. The endpoint answers with the count of the bytes.
--
--   taskset -c 1 wrk -t1 -c64 -d3 --latency -s bench/wrk/post.lua http://127.0.0.1:8080/
--
-- The request is fixed, so wrk makes it once and Lua costs nothing while it runs.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/octet-stream"
wrk.body = string.rep("x", 1024)
