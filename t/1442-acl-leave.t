#!/usr/bin/perl
# Servers leave a cluster that denies by default: each takes itself out of the Raft configuration, the leader too, and nobody needs a token for it but who asks.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Cluster;
use JSON::PP ();
use Test::More;

my $ROOT = '00000000-aaaa-4000-8000-000000000001';
# What Cluster.pm and the daemons ask may do everything. Autopilot, which would take out who has left, is off: who goes goes by himself.
my $c = Cluster->new(servers => 3, config => { acl => { enabled => JSON::PP::true, default_policy => 'deny',
	tokens => { initial_management => $ROOT, default => $ROOT, agent => $ROOT } }, autopilot => { cleanup_dead_servers => JSON::PP::false } });
my $json = JSON::PP->new->allow_nonref->canonical;

sub as
{
	my ($n, $token, $method, $path, $body) = @_;
	my ($status, $h, $text) = $n->http($method, $path, ref $body ? $json->encode($body) : $body, { 'X-Consul-Token' => $token });

	return ($status, $text);
}
sub token
{
	my ($n, $rules) = @_;
	my $p = $json->decode((as($n, $ROOT, 'PUT', '/v1/acl/policy', { Name => "p" . int rand 1e9, Rules => $rules }))[1]);

	return $json->decode((as($n, $ROOT, 'PUT', '/v1/acl/token', { Policies => [{ ID => $p->{ID} }] }))[1])->{SecretID};
}
sub peers { my ($n) = @_; return CORE::join ' ', sort map { $_->{Node} } @{$n->get_json('/v1/operator/raft/configuration')->{Servers}} }

my $leader = $c->leader;
my ($one, $two) = $c->followers;
my $weak = token($leader, 'agent_prefix "" { policy = "read" } operator = "read"');
my $leaver = token($leader, 'agent "' . $one->{name} . '" { policy = "write" }');
$c->wait_equal;

# ---- who may not
like(CORE::join(' ', as($one, $weak, 'PUT', '/v1/agent/leave')), qr/^403 Permission denied: .*'agent:write' on "\Q$one->{name}\E"/, 'to make an agent leave takes agent:write');
like(CORE::join(' ', as($one, $weak, 'DELETE', '/v1/operator/raft/peer?id=' . $one->get_json('/v1/agent/self')->{Config}{NodeID})), qr/^403 Permission denied/,
	'and to take its server out more than that to read');
like(CORE::join(' ', as($two, $leaver, 'PUT', '/v1/agent/leave')), qr/^403 Permission denied/, 'a right on one agent is none on another');
is(peers($leader), CORE::join(' ', sort map { $_->{name} } $c->servers), 'all are still there');

# ---- a follower
is((as($one, $leaver, 'PUT', '/v1/agent/leave'))[0], 200, 'a follower leaves');
is($one->wait_exit, 0, 'in good order');
unlike($one->log_text, qr/stays in the Raft configuration/, 'it has taken itself out');
is(peers($leader), CORE::join(' ', sort $leader->{name}, $two->{name}), 'and is in the configuration no more');

# ---- the leader
is((as($leader, $ROOT, 'PUT', '/v1/agent/leave'))[0], 200, 'the leader leaves');
is($leader->wait_exit, 0, 'in good order');
unlike($leader->log_text, qr/stays in the Raft configuration/, 'it has taken itself out');
ok($two->wait_for(sub { eval { peers($two) } // '' eq $two->{name} }), 'the last one is alone');
is((as($two, $ROOT, 'PUT', '/v1/kv/k', 'v'))[1], 'true', 'and goes on');
unlike($c->logs, qr/\Q$ROOT\E|\Q$leaver\E/, 'no log holds a token');
done_testing;
