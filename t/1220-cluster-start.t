#!/usr/bin/perl
# Three servers form one cluster, answer alike, and are one cluster again after they were all stopped or killed at once.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Cluster;
use JSON::PP ();
use Test::More;

my $c = Cluster->new(servers => 3);
my $leader = $c->leader;
my @f = $c->followers;

is scalar(@f), 2, 'one leads, two follow';
my $conf = $leader->get_json('/v1/operator/raft/configuration');
is scalar(@{$conf->{Servers}}), 3, 'three servers in the configuration';
is scalar(grep { $_->{Voter} } @{$conf->{Servers}}), 3, 'all with a vote';
is join(' ', map { $_->{Address} } grep { $_->{Leader} } @{$conf->{Servers}}), "$leader->{ip}:$leader->{ports}{server}", 'the leader is marked';
is_deeply [sort map { $_->{ID} } @{$conf->{Servers}}],
	[sort map { $_->get_json('/v1/agent/self')->{Config}{NodeID} } $c->nodes], 'servers are named by node ID';
is_deeply [sort @{$_->get_json('/v1/status/peers')}], [sort map { "$_->{ip}:$_->{ports}{server}" } $c->nodes], "$_->{name}: peers"
	for $c->nodes;

sub parked { my ($n) = @_; return ($n->ctl('info'))[1] =~ /blocking_queries = (\d+)/ ? $1 : -1 }

# A write to any server, read from any other in every mode.
for my $w ($c->nodes) {
	my ($status, undef, $body) = $w->http('PUT', "/v1/kv/from-$w->{name}", $w->{name});
	is "$status $body", '200 true', "$w->{name} takes a write";
	for my $r ($c->nodes) {
		for my $mode ('', '?consistent') {
			my ($st, $h, $b) = $r->http('GET', "/v1/kv/from-$w->{name}$mode" . ($mode ? '&raw' : '?raw'));
			is "$st $b", "200 $w->{name}", "$r->{name} has it at once" . ($mode && ' (consistent)');
			is $h->{'x-consul-knownleader'}, 'true', 'and knows a leader';
		}
		ok $r->wait_for(sub { ($r->http('GET', "/v1/kv/from-$w->{name}?raw&stale"))[2] eq $w->{name} }), "$r->{name} has it (stale)";
	}
}
my (undef, $h) = $f[0]->http('GET', '/v1/kv/from-s1?stale');
like $h->{'x-consul-lastcontact'}, qr/^\d+$/, 'a follower tells its last contact';
cmp_ok $h->{'x-consul-lastcontact'}, '<', 5000, 'which was not long ago';
is +($leader->http('GET', '/v1/kv/from-s1?stale'))[1]{'x-consul-lastcontact'}, 0, 'the leader is always in contact';

# Indexes are those of one log.
is +($f[0]->http('GET', '/v1/kv/from-s1'))[1]{'x-consul-index'}, +($f[1]->http('GET', '/v1/kv/from-s1'))[1]{'x-consul-index'},
	'the same index everywhere';

# A blocking query at a follower is woken by a write through another one.
{
	my ($st, $hd) = $f[0]->http('GET', '/v1/kv/watched?index=0');
	my $index = $hd->{'x-consul-index'};
	my $before = parked($f[0]);
	pipe my $rd, my $wr;
	my $pid = fork // die;
	if ($pid == 0) {
		my (undef, undef, $b) = $f[0]->http('GET', "/v1/kv/watched?index=$index&wait=60s&raw");
		print $wr $b;
		close $wr;
		POSIX::_exit(0);
	}
	close $wr;
	ok $f[0]->wait_for(sub { parked($f[0]) > $before }), 'a query waits';
	$f[1]->http('PUT', '/v1/kv/watched', 'woken');
	local $/;
	is scalar(<$rd>), 'woken', 'a watcher at one follower sees a write through another';
	waitpid $pid, 0;
}

# Sessions and locks go through any server.
my (undef, undef, $body) = $f[0]->http('PUT', '/v1/session/create', '{"TTL":"60s"}');
my $id = JSON::PP::decode_json($body)->{ID};
is +($f[1]->http('PUT', "/v1/kv/lock?acquire=$id", 'held'))[2], 'true', 'a lock taken at another server';
is +($leader->http('PUT', "/v1/session/renew/$id"))[0], 200, 'renewed at the leader';
is +($f[0]->http('PUT', "/v1/session/renew/$id"))[0], 200, 'renewed at a follower';

# The catalog knows all three.
ok $leader->wait_for(sub { @{$leader->get_json('/v1/catalog/service/consul')} == 3 }), 'three instances of consul';
ok $leader->wait_for(sub { 3 == grep { $_->{CheckID} eq 'serfHealth' && $_->{Status} eq 'passing' } @{$leader->get_json('/v1/health/state/any')} }),
	'and three passing serfHealth';

# All at once: SIGKILL to every process, and a stop.
for my $how ('kill', 'stop') {
	if ($how eq 'kill') {
		$c->crash($c->nodes);
	} else {
		$_->signal('INT') for $c->nodes;
		$_->wait_exit for $c->nodes;
	}
	$_->start for $c->nodes;
	$c->wait_all;
	is +($c->node(2)->http('GET', '/v1/kv/from-s1?raw'))[2], 's1', "$how of all three: the data are there";
	is $c->node(3)->get_json('/v1/kv/lock')->[0]{Session}, $id, 'and the lock';
	is scalar(@{$c->leader->get_json('/v1/operator/raft/configuration')->{Servers}}), 3, 'the same three servers';
}
done_testing;
