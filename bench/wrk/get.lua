-- GET, keep-alive. The path comes from the URL.
--
--   taskset -c 1 wrk -t1 -c64 -d3 --latency -s bench/wrk/get.lua http://127.0.0.1:8080/1k
--
-- The request is fixed, so wrk makes it once and Lua costs nothing while it runs.
wrk.method = "GET"
