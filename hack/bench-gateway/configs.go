package main

// nginxConfig has the slot of a user's key computed as the gateway does, by a library in C, and a table from
// slots to upstreams. The application gets the same headers from all contenders.
const nginxConfig = `
@account@
load_module @modules@/ndk_http_module.so;
load_module @modules@/ngx_http_lua_module.so;
daemon off;
worker_processes auto;
pid @dir@/nginx.pid;
events { worker_connections 15000; }
http {
  access_log off;
  client_body_temp_path @dir@/body;
  proxy_temp_path @dir@/proxy;
  fastcgi_temp_path @dir@/fastcgi;
  uwsgi_temp_path @dir@/uwsgi;
  scgi_temp_path @dir@/scgi;
  keepalive_timeout 300s;
  keepalive_requests 1000000000;
  upstream here { server @here@; keepalive 256; keepalive_requests 1000000000; }
  upstream there { server @there@; keepalive 256; keepalive_requests 1000000000; }
  init_by_lua_block {
    local ffi, bit = require("ffi"), require("bit")
    ffi.cdef("uint64_t XXH64(const char *input, size_t length, uint64_t seed);")
    local xxhash = ffi.load("libxxhash.so.0")
    local owners = {@table@}
    function route(key)
      local slot = tonumber(bit.band(xxhash.XXH64(key, #key, 0), 1023))
      return slot, owners[slot + 1]
    end
  }
  server {
    listen @listen@;
    location / {
      set $slot "";
      set $owner "";
      access_by_lua_block {
        local key = ngx.var.http_x_user_phone
        if not key then
          return ngx.exit(400)
        end
        ngx.var.slot, ngx.var.owner = route(key)
      }
      proxy_pass http://$owner;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header Multiactive-Key $http_x_user_phone;
      proxy_set_header Multiactive-Slot $slot;
      proxy_set_header Multiactive-Epoch 1;
      proxy_set_header Multiactive-Owner $owner;
    }
  }
}
`

// haproxyConfig does the same with HAProxy's own hash and a map.
const haproxyConfig = `
global
  maxconn 12000
  no strict-limits
  nbthread @threads@
defaults
  mode http
  timeout connect 1s
  timeout client 300s
  timeout server 60s
  timeout http-keep-alive 300s
  http-reuse always
frontend users
  bind @listen@
  http-request deny deny_status 400 unless { req.hdr(X-User-Phone) -m found }
  http-request set-var(txn.slot) req.hdr(X-User-Phone),xxh64,and(1023)
  http-request set-var(txn.owner) var(txn.slot),map_int(@slots@)
  http-request add-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Host %[req.hdr(Host)]
  http-request set-header X-Forwarded-Proto http
  http-request set-header Multiactive-Key %[req.hdr(X-User-Phone)]
  http-request set-header Multiactive-Slot %[var(txn.slot)]
  http-request set-header Multiactive-Epoch 1
  http-request set-header Multiactive-Owner %[var(txn.owner)]
  use_backend %[var(txn.owner)]
backend here
  server here @here@ pool-max-conn -1
backend there
  server there @there@ pool-max-conn -1
`
