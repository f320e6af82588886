bogus = 1
ports { http = 70000 }
server = "x"
retry_interval = "soon"
