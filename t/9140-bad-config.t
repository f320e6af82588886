#!/usr/bin/perl
# Configurations and surroundings in which an agent must not start: exit 1, one sentence, nothing left behind; and bad reloads.
use strict;
use warnings;
use IO::Socket::INET;
use Test::More;
use lib "$ENV{SRCDIR}/t/lib";
use Node;

my $json = JSON::PP->new->canonical;

# Start what must fail; what it says on standard error.
sub refused
{
	my ($n, $what, $why, $lines) = @_;

	$n->start;
	my $rc = $n->wait_exit;
	is $rc, 1, "$what: exit 1";
	$n->kill if !defined $rc;
	my $err = $n->err_text;
	like $err, $why, '... says why';
	my @lines = grep { /\S/ } split /\n/, $err;
	cmp_ok scalar @lines, '<=', $lines // 1, '... shortly' or diag $err;
	unlike $err . $n->log_text, qr/Sanitizer|runtime error|work still open/, '... without harm';
	return $n;
}

sub node { return Node->new(start => 0, wait => 'none', @_) }

# ---- files; the errors of a file are a list below its name

sub bad_file
{
	my ($what, $name, $text, $why) = @_;
	my $n = refused(node(config_dir => { $name => $text }), $what, $why, 3);

	ok !-e "$n->{data_dir}/run", '... nothing was made';
}

bad_file('half a JSON object', 'x.json', '{"log_level": "info"', qr/x\.json: line 1, column \d+: /);
bad_file('two JSON values', 'x.json', '{} {}', qr/x\.json: line 1, column 4: /);
bad_file('a JSON list', 'x.json', '[{"log_level": "info"}]', qr/x\.json/);
bad_file('deep JSON', 'x.json', '{"a":' x 50000, qr/x\.json: line 1, column \d+: .*(deep|nest)/);
bad_file('a NUL in JSON', 'x.json', "{\"log_level\":\0 \"info\"}", qr/x\.json: line 1, column \d+: /);
bad_file('malformed UTF-8', 'x.json', "{\"node_name\": \"\xff\xfe\"}", qr/x\.json: line 1, column \d+: not UTF-8/);
bad_file('an unknown key within', 'x.json', '{"ports": {"dns": 1, "bogus": 2}}', qr/x\.json.*ports\.bogus/s);
bad_file('a key in a service', 'x.json', '{"service": {"name": "x", "prot": 80}}', qr/x\.json.*prot/s);
bad_file('HCL without an end', 'x.hcl', "log_level = \"info\nport", qr/x\.hcl: line 1, column \d+: /);
bad_file('HCL that opens only', 'x.hcl', "ports {\n dns = 1\n", qr/x\.hcl: line \d, column \d+: an object is not closed/);
bad_file('deep HCL', 'x.hcl', 'a = ' . '[' x 20000, qr/x\.hcl: line 1, column \d+: nested deeper than \d+/);
bad_file('a heredoc without an end', 'x.hcl', "node_name = <<EOF\nx\n", qr/x\.hcl: line \d, column \d+: a heredoc is not closed/);
bad_file('noise', 'x.hcl', join('', map { chr(($_ * 7919 + 1) & 127) } 1 .. 5000), qr/x\.hcl: line \d+, column \d+: /);
bad_file('a file of 40 MB', 'x.hcl', '# ' . 'x' x 40_000_000, qr/x\.hcl.*(MiB|large|too)/);
for (['ports.dns', { ports => { dns => 70000 } }], ['ports.http', { ports => { http => 1 << 40 } }], ['bind_addr', { bind_addr => 'nowhere' }],
	['client_addr', { client_addr => '1.2.3.4.5' }], ['node_name', { node_name => '' }], ['datacenter', { datacenter => 'a b' }],
	['log_level', { log_level => 'loud' }], ['bootstrap_expect', { bootstrap_expect => -1 }], ['log_level', { log_level => ['x'] }],
	['dns_config', { dns_config => 'x' }], ['limits', { limits => { http_max_conns_per_client => 'many' } }],
	['reconnect_timeout', { reconnect_timeout => '99999999999h' }], ['check', { check => { name => 'c', interval => '10s' } }],
	['service', { service => { port => 1 } }], ['domain', { domain => 'x' x 300 }], ['node_id', { node_id => 'short' }],
	['retry_join', { retry_join => 7 }]) {
	my ($key, $config) = @$_;
	refused(node(config => $config), "$key " . $json->encode($config) =~ s/(.{60}).*/$1.../r, qr/\Q$key\E|log level|NodeID|port|service|check/i, 4);
}

# ---- every port that somebody has

sub take
{
	my ($n, $port, $proto) = @_;

	return IO::Socket::INET->new(LocalAddr => $n->{ip}, LocalPort => $n->{ports}{$port}, Proto => $proto,
		$proto eq 'tcp' ? (Listen => 1, ReuseAddr => 1) : ()) // die "$port: $!";
}

for (['dns', 'tcp', 'dnsd'], ['dns', 'udp', 'dnsd'], ['serf_lan', 'tcp', 'gossipd'], ['serf_lan', 'udp', 'gossipd'], ['serf_wan', 'tcp', 'gossipd'], ['http', 'tcp', 'httpd']) {
	my ($port, $proto, $daemon) = @$_;
	my $n = node();
	my $taken = take($n, $port, $proto);
	refused($n, "$port taken over $proto", qr/^==> .*$daemon: .*\Q$n->{ip}:$n->{ports}{$port}\E.*in use$/m);
	close $taken;
	$n->{wait} = 'leader';
	$n->start;
	ok $n->running, '... with the port free it starts';
	$n->stop;
}
{
	my $n = node();
	$n->write_config({ ports => { dns => $n->{ports}{http} } });
	refused($n, 'one port for two', qr/\b$n->{ports}{http}\b/);
}
SKIP: {
	skip 'such an address may be ours', 4 if -e '/proc/net/if_inet6' && Node::_slurp('/proc/sys/net/ipv4/ip_nonlocal_bind') =~ /1/;
	refused(node(config => { client_addr => '192.0.2.1' }), 'an address that is not ours', qr/192\.0\.2\.1.*assign/);
}

# ---- places

{
	my $n = node();
	mkdir $n->{dir};
	Node::write_file($n->{data_dir}, 'a file');
	refused($n, 'a data directory that is a file', qr/\Q$n->{data_dir}\E/);
	is Node::_slurp($n->{data_dir}), 'a file', '... which is left alone';
}
refused(node(config => { data_dir => '/proc/nowhere' }), 'a place where nothing can be made', qr{/proc/nowhere});
refused(node(config => { data_dir => "/tmp/a\0b" }), 'a data directory with a NUL', qr/data_dir: the string holds a NUL byte/, 2);
{
	my $n = node();
	mkdir $n->{dir};
	mkdir $n->{data_dir};
	mkdir "$n->{data_dir}/node-id";
	refused($n, 'an id that cannot be read', qr/node-id/);
}
{
	my $n = node();
	mkdir $n->{dir};
	mkdir $n->{data_dir};
	Node::write_file("$n->{data_dir}/node-id", "not an id\n");
	refused($n, 'an id that is none', qr/node-id|node.id/i);
}

# ---- a reload is taken whole or not at all

my $n = Node->new(config_dir => { 'web.json' => '{"service": {"name": "web", "port": 80}}' });
my %pids = $n->pids;
$n->wait_for(sub { @{$n->get_json('/v1/catalog/service/web')} });
my $slices = join '', map { Node::_slurp("$n->{data_dir}/run/config/$_.json") } qw(raftd gossipd httpd dnsd checkd);
for (['half a file', '{"service": {"name": "web", "port": 81}'], ['an unknown key', '{"service": {"name": "web", "port": 81}, "bogus": 1}'],
	['a service without a name', '{"services": [{"name": "web", "port": 81}, {"port": 1}]}'], ['noise', "\0\xff\x01"], ['nothing', ''],
	['TLS', '{"service": {"name": "web", "port": 81}, "verify_incoming": true}'],
	['a check that is none', '{"service": {"name": "web", "port": 81, "check": {"interval": "1s"}}}']) {
	my ($what, $text) = @$_;
	$n->config_dir_file('web.json', $text);
	my ($status, undef, $body) = $n->http('PUT', '/v1/agent/reload');
	is $status, 500, "reload of $what is refused";
	like $body, qr/web\.json|service|check/i, '... says why';
	my ($rc, undef, $err) = $n->ctl('reload');
	is $rc, 1, '... by the command too';
	is join('', map { Node::_slurp("$n->{data_dir}/run/config/$_.json") } qw(raftd gossipd httpd dnsd checkd)), $slices, '... no daemon is told';
}
is $n->get_json('/v1/agent/service/web')->{Port}, 80, 'the service is as it was';
$n->config_dir_file('web.json', '{"service": {"name": "web", "port": 82}}');
my ($status) = $n->http('PUT', '/v1/agent/reload');
is $status, 200, 'a good one is taken';
ok $n->wait_for(sub { $n->get_json('/v1/agent/service/web')->{Port} == 82 }), '... and applied';
is_deeply { $n->pids }, \%pids, 'no daemon has ended';
$n->stop;
is join("\n", grep { /Sanitizer|runtime error|work still open/ } split /\n/, $n->log_text . $n->err_text), '', 'a clean end';
done_testing;
