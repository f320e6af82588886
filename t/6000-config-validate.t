#!/usr/bin/perl
# consulctl validate: says yes or no as Consul does, names file, line and key, and touches nothing.
use strict;
use warnings;
use File::Temp qw(tempdir);
use Test::More;

my $program = "$ENV{BUILDDIR}/consulctl/consulctl";
my $dir = tempdir(CLEANUP => 1);

sub put
{
	my ($name, $text) = @_;

	open my $f, '>', "$dir/$name" or die "$name: $!";
	print $f $text;
	close $f or die;
	return "$dir/$name";
}

# (exit code, standard output, standard error)
sub validate
{
	my @args = @_;
	my $pid = fork() // die;

	if ($pid == 0) {
		open STDOUT, '>', "$dir/.out" or die;
		open STDERR, '>', "$dir/.err" or die;
		exec $program, 'validate', @args or die;
	}
	waitpid $pid, 0;
	return ($? >> 8, map { local $/; open my $f, '<', "$dir/$_" or die; my $t = <$f>; $t // '' } '.out', '.err');
}

my $base = "data_dir = \"$dir/data\"\nbind_addr = \"127.0.0.1\"\n";
my ($rc, $out, $err) = validate(put('good.hcl', $base));
is $rc, 0, 'a good file: exit 0';
is $out, "Configuration is valid!\n", 'as Consul says it';
is $err, '', 'nothing on standard error';
ok !-e "$dir/data", 'no data directory was made';

($rc, $out, $err) = validate('-quiet', "$dir/good.hcl");
is_deeply [$rc, $out, $err], [0, '', ''], '-quiet says nothing';

($rc, $out, $err) = validate(put('bogus.json', "{\n\"data_dir\": \"$dir/data\",\n\"bogus\": 1\n}\n"));
is $rc, 1, 'an unknown key: exit 1';
is $out, '', 'nothing on standard output';
is $err, "Config validation failed: failed to parse $dir/bogus.json: 1 error occurred:\n\t* invalid config key bogus (line 3)\n",
    'file, key and line are named';

($rc, $out, $err) = validate(put('none.hcl', 'bind_addr = "127.0.0.1"'));
is_deeply [$rc, $err], [1, "Config validation failed: data_dir cannot be empty\n"], 'data_dir is needed';

($rc, $out, $err) = validate(put('duration.hcl', "$base\nretry_interval = \"soon\"\n"));
like $err, qr/^Config validation failed: .*retry_interval: invalid duration: time: invalid duration "soon" \(line 4\)$/s, 'a bad duration';

($rc, $out, $err) = validate(put('tls.hcl', "$base\nverify_incoming = true\n"));
is $rc, 1, 'TLS is refused';
is $err, "Config validation failed: verify_incoming is not supported yet, and a security setting is never ignored: "
    . "remove it or switch it off ($dir/tls.hcl, line 4)\n", 'in a sentence';

($rc, $out, $err) = validate("$dir/nowhere");
is_deeply [$rc, $err], [1, "Config validation failed: config: Open failed on $dir/nowhere. No such file or directory\n"], 'no such file';

($rc, $out, $err) = validate();
is_deeply [$rc, $err], [1, "Must specify at least one config file or directory\n"], 'no path';

# ---- directories and formats

mkdir "$dir/d" or die;
mkdir "$dir/d/below.hcl" or die;
put('d/10-base.hcl', $base);
put('d/20-web.json', '{"service": {"name": "web", "tags": ["rails"], "port": 80}}');
put('d/notes.txt', 'anything');
($rc, $out, $err) = validate("$dir/d");
is_deeply [$rc, $out, $err], [0, "Configuration is valid!\n", ''], 'a directory';

($rc) = validate('-config-format', 'hcl', "$dir/d");
is $rc, 1, '-config-format takes every file';
put('d/notes.txt', 'node_name = "n"');
($rc) = validate('-config-format=hcl', "$dir/d");
is $rc, 0, 'and reads it';

($rc, $out, $err) = validate('-config-format', 'xml', "$dir/d");
is_deeply [$rc, $err], [1, "-config-format must be either 'hcl' or 'json'\n"], 'an unknown format';

# ---- what tools written for Consul write

($rc, $out, $err) = validate(put('consul.json', <<"END"));
{
  "node_name": "node-1", "node_id": "adf4238a-882b-9ddc-4a9d-5b6758e4159e", "bootstrap": true, "server": true,
  "data_dir": "$dir/data", "bind_addr": "127.0.0.1", "segments": null, "disable_update_check": true, "log_level": "debug",
  "addresses": {}, "ports": {"dns": 10000, "http": 10001, "https": -1, "serf_lan": 10002, "serf_wan": 10003, "server": 10004,
  "grpc": 10005, "proxy_min_port": 10006, "proxy_max_port": 10007}, "performance": {"raft_multiplier": 1},
  "acl": {"enabled": false, "tokens": {}}, "connect": {"enabled": true, "ca_config": {"cluster_id": "11111111-2222-3333-4444-555555555555"}},
  "enable_debug": true, "skip_leave_on_interrupt": false, "peering": {"enabled": true}, "autopilot": {"min_quorum": 1},
  "telemetry": {"prometheus_retention_time": "1h", "statsd_address": "127.0.0.1:8125"}, "ui_config": {"enabled": true}
}
END
is_deeply [$rc, $out, $err], [0, "Configuration is valid!\n", ''], 'a whole Consul configuration';

done_testing;
