//! The configuration that each product is started with: the same work for all.
//!
//! One worker, keep-alive on both sides without practical limits, X-Forwarded-For added, no access
//! log. Beyond that each product gets the setting that its own documentation recommends for a
//! proxy; nothing is slowed down to make another look good.

use std::net::SocketAddr;
use std::path::Path;

/// `nginx.conf`. Folders are named so that it runs from anywhere; `user` keeps a worker started by
/// root able to use them. The buffers hold the largest response asked for: with the default ones
/// nginx takes up to twice the CPU for 64 KiB.
pub(super) fn nginx(listen: SocketAddr, endpoint: SocketAddr, folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "daemon off;
user root;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/product.log;
events {{
    worker_connections 20000;
}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000000;
    keepalive_timeout 300s;
    proxy_buffers 16 8k;
    upstream app {{
        server {endpoint};
        keepalive 1024;
        keepalive_requests 1000000000;
        keepalive_timeout 300s;
    }}
    server {{
        listen {listen} reuseport backlog=4096;
        location / {{
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}
}}
"
    )
}

/// `haproxy.cfg`. A connection takes two descriptors, and haproxy refuses to start when the limit
/// does not allow the connections that it was promised.
pub(super) fn haproxy(listen: SocketAddr, endpoint: SocketAddr, descriptors: u64) -> String {
    let connections_max = (descriptors.saturating_sub(100) / 2).min(20_000);
    format!(
        "global
    nbthread 1
    maxconn {connections_max}
defaults
    mode http
    maxconn {connections_max}
    backlog 4096
    option http-keep-alive
    option forwardfor
    http-reuse always
    timeout connect 5s
    timeout client 300s
    timeout server 300s
    timeout http-keep-alive 300s
frontend web
    bind {listen}
    default_backend app
backend app
    server endpoint {endpoint}
"
    )
}

/// `ringway.toml`.
pub(super) fn ringway(listen: SocketAddr, endpoint: SocketAddr) -> String {
    format!(
        "version = 1
[admin]
address = \"off\"
[listeners.web]
address = \"{listen}\"
[upstreams.app]
endpoints = [\"{endpoint}\"]
[routes.all]
match = {{ path_prefix = \"/\" }}
upstream = \"app\"
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn haproxy_is_promised_no_more_than_the_descriptors_allow() {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        assert!(haproxy(address, address, 20_000).contains("maxconn 9950\n"));
        assert!(haproxy(address, address, 1_000_000).contains("maxconn 20000\n"));
    }
}
