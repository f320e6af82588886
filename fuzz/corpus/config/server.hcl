server = true
bind_addr = "{{ GetInterfaceIP \"lo\" }}"
client_addr = "127.0.0.1 ::1"
addresses { http = "unix:///x" }
advertise_addr = "192.0.2.1"
dns_config { service_ttl { "*" = "5s" } soa { min_ttl = 1 } }
node_meta { a = "b" }
limits = { http_max_conns_per_client = 5 }
