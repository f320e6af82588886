services = [{ name = "a", weights { passing = 3 }, meta { k = "v" }, tagged_addresses { lan { address = "1.2.3.4" port = 5 } },
 checks = [{ ttl = "1s" }, { TCP = "x:1" Interval = "1s" Header { a = ["b"] } }] }]
check { id = "c" name = "c" args = ["true"] interval = "1s" }
enable_script_checks = true
