#!/usr/bin/perl
# Rights in a cluster of three servers and a client node, denied by default: every read leaves out what may not be seen, wherever it is asked.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Cluster;
use JSON::PP ();
use Test::More;
use Time::HiRes qw(sleep time);

my $ROOT = '00000000-aaaa-4000-8000-000000000001';
my $NOBODY = 'anonymous';
# What the test's own modules and the daemons ask may do everything; whoever asks here says who he is.
my $c = Cluster->new(servers => 3, clients => 1, config => { acl => { enabled => JSON::PP::true, default_policy => 'deny', token_ttl => '1s', policy_ttl => '1s',
	tokens => { initial_management => $ROOT, default => $ROOT, agent => $ROOT } } });
my @nodes = $c->nodes;
my ($client) = $c->clients;
my $json = JSON::PP->new->allow_nonref->canonical;

# (status, body, headers) as somebody.
sub as
{
	my ($n, $token, $method, $path, $body) = @_;
	my ($status, $h, $text) = $n->http($method, $path, ref $body ? $json->encode($body) : $body, { 'X-Consul-Token' => $token });

	return ($status, $text, $h);
}
sub root
{
	my ($n, $method, $path, $body) = @_;
	my ($status, $text) = as($n, $ROOT, $method, $path, $body);

	die "$method $path: $status $text" if $status != 200;
	return eval { $json->decode($text) };
}
sub get { my ($n, $token, $path) = @_; my ($status, $text) = as($n, $token, 'GET', $path); return $status == 200 ? $json->decode($text) : "$status $text" }

my $made = 0;
sub token
{
	my ($rules, %more) = @_;
	my $p = root($client, 'PUT', '/v1/acl/policy', { Name => 'p' . ++$made, Rules => $rules });
	my $t = root($client, 'PUT', '/v1/acl/token', { Policies => [{ ID => $p->{ID} }], %more });

	return ($t, $p);
}
sub lacks { my ($t, $what, $on) = @_; return "403 Permission denied: token with AccessorID '$t->{AccessorID}' lacks permission '$what'" . (defined $on ? " on \"$on\"" : '') }
sub write_as { my ($n, $token, $method, $path, $body) = @_; my ($status, $text) = as($n, $token, $method, $path, $body); return "$status $text" }

# A blocking query in a process of its own; its answer is read with answer().
sub waiting
{
	my ($n, $token, $path) = @_;
	my (undef, undef, $h) = as($n, $token, 'GET', $path);
	my $index = $h->{'x-consul-index'};

	pipe my $in, my $out or die "pipe: $!";
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		$n->{ua} = HTTP::Tiny->new(timeout => 150, max_redirect => 0, keep_alive => 0);
		my ($status, $text) = as($n, $token, 'GET', $path . ($path =~ /\?/ ? '&' : '?') . "index=$index&wait=120s");
		print $out time, " $status $text";
		close $out;
		POSIX::_exit(0);
	}
	close $out;
	return { pid => $pid, in => $in, n => $n };
}
# The answer; when it came is left in $w.
sub answer
{
	my ($w) = @_;
	my $text = readline($w->{in}) // '0 ';

	waitpid $w->{pid}, 0;
	($w->{at}, $text) = $text =~ /^(\S+) (.*)/s;
	return $text;
}

# ---- a token that expires in a minute, while a read waits with it at each kind of node: looked at below
my ($short) = token('key_prefix "k1/" { policy = "read" }', ExpirationTTL => '60s');
my $expires = time + 60;
root($client, 'PUT', '/v1/kv/k1/short', 'v');
$c->wait_equal;
my @short = map { waiting($_, $short->{SecretID}, '/v1/kv/k1/short') } $c->leader, ($c->followers)[0], $client;

# ---- what there is
is($c->wait_catalog($client, map { $_->{name} => 'passing' } @nodes), '', 'all nodes are in the catalog');
for my $i (1, 2) {
	root($client, 'PUT', '/v1/catalog/register', { Node => "x$i", Address => "10.0.0.$i", Service => { Service => "svc$i", Port => 80 },
		Check => { CheckID => "ping$i", Name => 'ping', Status => 'passing' } });
	root($client, 'PUT', "/v1/kv/k$i/a", 'v');
}
root($client, 'PUT', '/v1/kv/k1/b', 'v');
my $sid = root($client, 'PUT', '/v1/session/create', { Node => 'x1', NodeChecks => ['ping1'] })->{ID};
my ($t, $p) = token('node "x1" { policy = "read" } service "svc1" { policy = "read" } key_prefix "k1/" { policy = "read" } session "x1" { policy = "read" }');
my $s = $t->{SecretID};
$c->wait_equal;

# ---- nobody: the facts that clients know
for my $n ($c->leader, ($c->followers)[0], $client) {
	my @lists = (['catalog/nodes', []], ['catalog/services', {}], ['catalog/service/svc1', []], ['catalog/node/x1', undef],
		['catalog/node-services/x1', { Node => undef, Services => undef }], ['health/node/x1', []], ['health/checks/svc1', []], ['health/state/any', []],
		['health/service/svc1', []], ['session/list', []], ["session/info/$sid", []], ['session/node/x1', []], ['coordinate/nodes', []]);
	is_deeply(get($n, $NOBODY, "/v1/$_->[0]"), $_->[1], "$_->[0] shows nothing to nobody at $n->{name}") for @lists;
	is((as($n, $NOBODY, 'GET', '/v1/kv/k1/?recurse'))[0], 404, 'a list of keys that may not be seen is none');
	like(write_as($n, $NOBODY, 'GET', '/v1/kv/k1/a'), qr/^403 Permission denied/, 'a single key is refused');
	is(get($n, 'nonsense', $_), '403 ACL not found', "$_ with a token that is none") for '/v1/catalog/nodes', '/v1/kv/k1/a', '/v1/session/list';
	like($json->encode(get($n, 'nonsense', '/v1/status/leader')), qr/^"[\d.]+:\d+"$/, 'status/leader is open');
	is(ref get($n, 'nonsense', '/v1/status/peers'), 'ARRAY', 'status/peers is open');
	is_deeply(get($n, 'nonsense', '/v1/catalog/datacenters'), ['dc1'], 'catalog/datacenters is open');
	is((as($n, $NOBODY, 'GET', '/v1/catalog/nodes'))[2]{'x-consul-results-filtered-by-acls'}, undef, 'nobody is told that there is something left out');
}

# ---- somebody
for my $n ($c->leader, ($c->followers)[1], $client) {
	is_deeply([map { $_->{Node} } @{get($n, $s, '/v1/catalog/nodes')}], ['x1'], "nodes at $n->{name}");
	is((as($n, $s, 'GET', '/v1/catalog/nodes'))[2]{'x-consul-results-filtered-by-acls'}, 'true', 'what was left out is told');
	is_deeply([sort keys %{get($n, $s, '/v1/catalog/services')}], ['svc1'], 'services');
	is_deeply([map { scalar @{get($n, $s, "/v1/health/service/svc$_")} } 1, 2], [1, 0], 'instances');
	is_deeply([map { $_->{CheckID} } @{get($n, $s, '/v1/health/state/any')}], ['ping1'], 'checks');
	is_deeply([map { $_->{ID} } @{get($n, $s, '/v1/session/list')}], [$sid], 'sessions');
	is_deeply(get($n, $s, '/v1/kv/?keys'), ['k1/a', 'k1/b', 'k1/short'], 'keys');
	is(write_as($n, $s, 'PUT', '/v1/kv/k1/a', 'w'), lacks($t, 'key:write', 'k1/a'), 'a write is refused with resource, access and accessor');
	is(write_as($n, $s, 'PUT', "/v1/session/destroy/$sid"), lacks($t, 'session:write', 'x1'), 'and so is one to a session');
	is(write_as($n, $s, 'PUT', "/v1/session/renew/$sid"), lacks($t, 'session:write', 'x1'), 'its renewal');
	is(write_as($n, $s, 'PUT', '/v1/catalog/register', { Node => 'x1', Address => '10.1.1.1' }), lacks($t, 'node:write', 'x1'), 'a registration');
	is(write_as($n, $s, 'GET', '/v1/operator/raft/configuration'), lacks($t, 'operator:read'), "the operator's");
	is(write_as($n, $s, 'GET', '/v1/snapshot'), lacks($t, 'acl:write'), 'a snapshot');
	my ($status, $text) = as($n, $s, 'PUT', '/v1/txn', [{ KV => { Verb => 'set', Key => 'k1/a', Value => 'eA==' } }]);
	is_deeply([$status, $json->decode($text)], [409, { Results => undef, Errors => [{ OpIndex => 0, What => substr lacks($t, 'key:write', 'k1/a'), 4 }] }], 'a transaction');
}

# ---- reads that wait, at each kind of node
for my $n ($c->leader, ($c->followers)[0], $client) {
	my ($x) = token('key_prefix "k1/" { policy = "read" }');
	my ($y, $yp) = token('key_prefix "k1/" { policy = "read" }');
	my $gone = waiting($n, $x->{SecretID}, '/v1/kv/k1/a');
	my $wide = waiting($n, $y->{SecretID}, '/v1/kv/k2/?recurse');
	my $stays = waiting($n, $ROOT, '/v1/kv/k1/a');
	sleep 0.5;
	root($client, 'DELETE', "/v1/acl/token/$x->{AccessorID}");
	my $began = time;
	is(answer($gone), '403 ACL not found', "a read at $n->{name} ends when its token is deleted");
	cmp_ok(time - $began, '<', 10, 'and not at its time-out');
	root($client, 'PUT', "/v1/acl/policy/$yp->{ID}", { Name => $yp->{Name}, Rules => 'key_prefix "k" { policy = "read" }' });
	like(answer($wide), qr/^200 .*"Key":"k2\/a"/, 'a list widens when its policy does');
	root($client, 'PUT', '/v1/kv/k1/a', "at $n->{name}");
	like(answer($stays), qr/^200 .*"Key":"k1\/a"/, 'others wait for what they wait for');
}

# ---- tokens that expire
for my $w (@short) {
	is(answer($w), '403 ACL not found', "a read at $w->{n}{name} ends when its token expires");
	cmp_ok(abs($w->{at} - $expires), '<', 5, sprintf 'just then (%+.1f s)', $w->{at} - $expires);
	is(get($w->{n}, $short->{SecretID}, '/v1/kv/k1/short'), '403 ACL not found', 'and it is no longer a token');
}

# ---- rights survive a change of the leader
my $old = $c->leader;
my $w = waiting($client, $s, '/v1/kv/k1/a');
$c->crash($old);
my $new = $c->next_leader($old);
ok($client->wait_for(sub { ref get($client, $s, '/v1/kv/k1/a') }), 'the next leader knows the tokens');
is(write_as($client, $s, 'PUT', '/v1/kv/k1/a', 'w'), lacks($t, 'key:write', 'k1/a'), 'and what they may not do');
is(get($client, 'nonsense', '/v1/kv/k1/a'), '403 ACL not found', 'and which are none');
root($client, 'PUT', '/v1/kv/k1/a', 'after');
like(answer($w), qr/^200 /, 'a read that waited goes on');
$old->start;
$c->wait_all;
ok(!(grep { $_->log_text =~ /\Q$ROOT\E|\Q$s\E/ } @nodes), 'no log has a secret');
done_testing;
