#!/usr/bin/perl
# Real servers: prepared queries and names of addresses, health that reaches
# them within a second; and all warm names while raftd hangs, is killed, or
# has no leader, within max_stale.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Test::More;
use Time::HiRes qw(sleep time);
use Cluster;
use Dns;

my $slow = $ENV{TEST_TIMEOUT} // 30;
my $c = Cluster->new(servers => 3, config => { dns_config => { workers => 2 } });
my ($n) = $c->followers;

Dns::catalog($n, 'node1', '10.0.0.1', { Service => 'web', Port => 80 }, 'passing');
Dns::catalog($n, 'node2', '10.0.0.2', { Service => 'web', Port => 81 }, 'passing');
Dns::catalog($n, 'node3', '10.0.0.3', { Service => 'db', Port => 82, Address => '10.9.0.3' }, 'passing');
my %queries = (q => { Service => { Service => 'web' }, DNS => { TTL => '7s' } },
	near => { Service => { Service => 'web', Near => '_ip' } }, geo => { Template => { Type => 'name_prefix_match' }, Service => { Service => '${name.suffix}' } });
my %id;
for (sort keys %queries) {
	my ($status, undef, $body) = $n->http('POST', '/v1/query', { Name => $_ eq 'geo' ? 'geo-' : $_, %{$queries{$_}} });
	is $status, 200, "a prepared query: $_" or diag $body;
	($id{$_}) = $body =~ /"ID":\s*"([^"]+)"/;
}
sub ask { my ($name, $type, %o) = @_; return Dns::parse(Dns::udp($n, Dns::query($name, $type, %o), $slow)) // { status => 'none', answer => [] } }
sub order { my ($r) = @_; return join ' ', map { /\.(\d+)$/ } @{$r->{answer}} }

# ---- what is known

ok $n->wait_for(sub { @{ask('q.query.consul', 'A')->{answer}} == 2 }), 'the query by its name';
is_deeply [sort @{ask("$id{q}.query.consul", 'A')->{answer}}], [map { "$id{q}.query.consul. 7 A 10.0.0.$_" } 1, 2], '... and by its ID';
ok $n->wait_for(sub { order(ask('geo-db.query.consul', 'A')) eq '3' }), 'a template';
is ask('geo-none.query.consul', 'A')->{status}, 'NXDOMAIN', '... for a service that is not there';
is ask('q.query.consul', 'SRV')->{answer}[0] =~ /node[12]\.node\.dc1\.consul\.$/, 1, 'SRV';
my %ecs = map { $_ => [edns => 1232, options => { 8 => pack 'n C C C4', 1, 32, 0, 10, 0, 0, $_ }] } 1, 2;
is order(ask('near.query.consul', 'A', @{$ecs{1}})), '1 2', 'near=_ip: the node that asks comes first';
is order(ask('near.query.consul', 'A', @{$ecs{2}})), '2 1', '... whoever it is';
is order(ask('near.query.consul', 'A', @{$ecs{$_}})), $_ == 1 ? '1 2' : '2 1', '... again' for 1, 2;
is ask('1.0.0.10.in-addr.arpa', 'PTR')->{answer}[0], '1.0.0.10.in-addr.arpa. 0 PTR node1.node.dc1.consul.', 'PTR of a node';
is ask('3.0.9.10.in-addr.arpa', 'PTR')->{answer}[0], '3.0.9.10.in-addr.arpa. 0 PTR db.service.dc1.consul.', '... of a service';
is ask('99.0.9.10.in-addr.arpa', 'PTR')->{status}, 'SERVFAIL', '... of nobody';

# ---- changes

Dns::catalog($n, 'node2', '10.0.0.2', { Service => 'web', Port => 81 }, 'critical');
my $t = time;
ok $n->wait_for(sub { order(ask('q.query.consul', 'A')) eq '1' }, $slow), 'an instance that fails is gone from the query';
note sprintf 'after %.3f s', time - $t;
cmp_ok time - $t, '<', $ENV{TEST_TIMEOUT} // 1, '... within a second';
ok $n->wait_for(sub { order(ask('near.query.consul', 'A', @{$ecs{2}})) eq '1' }, $slow), '... and from each order of it';
Dns::catalog($n, 'node2', '10.0.0.2', { Service => 'web', Port => 81 }, 'passing');
ok $n->wait_for(sub { @{ask('q.query.consul', 'A')->{answer}} == 2 }, $slow), '... and comes back';
Dns::catalog($n, 'node4', '10.0.0.4');
ok $n->wait_for(sub { @{ask('4.0.0.10.in-addr.arpa', 'PTR')->{answer}} == 1 }, $slow), 'a new node has a name of its address';
is +($n->http('PUT', "/v1/query/$id{q}", { Name => 'q', Service => { Service => 'db' } }))[0], 200, 'the query is changed';
ok $n->wait_for(sub { order(ask('q.query.consul', 'A')) eq '3' }, $slow), '... and finds another service';
$n->http('PUT', '/v1/catalog/deregister', { Node => 'node4' });
ok $n->wait_for(sub { ask('4.0.0.10.in-addr.arpa', 'PTR')->{status} eq 'SERVFAIL' }, $slow), 'a node that leaves has none any more';

# ---- raftd hangs, and is killed

my @warm = (['web.service.consul', 'A'], ['web.service.consul', 'SRV'], ['node1.node.consul', 'A'], ['consul', 'NS'], ['q.query.consul', 'A'],
	['geo-db.query.consul', 'A'], ['near.query.consul', 'A'], ['1.0.0.10.in-addr.arpa', 'PTR'], ['3.0.9.10.in-addr.arpa', 'PTR']);
sub all_warm
{
	my ($what, $seconds, $until) = @_;
	my ($asked, $slowest, @bad) = (0, 0);
	my $end = time + $seconds;

	while (time < $end && !($asked && $until && $until->())) {
		for (@warm) {
			my $t = time;
			my $r = ask(@$_);
			push @bad, "$_->[0] $_->[1] $r->{status}" if $r->{status} ne 'NOERROR' || !@{$r->{answer}};
			$slowest = time - $t if time - $t > $slowest;
			$asked++;
		}
	}
	is_deeply \@bad, [], "$what: $asked questions";
	cmp_ok $slowest, '<', $ENV{TEST_TIMEOUT} // 1, '... none was slow';
}
all_warm('raftd is there', 1);
my $pid = $c->pid($n, 'raftd');
kill STOP => $pid;
all_warm('raftd hangs', 4);
kill KILL => $pid;
all_warm('raftd is killed', $slow, sub { my $p = $c->pid($n, 'raftd'); $p && $p != $pid && $c->leader_of($n) });
ok $n->wait_for(sub { $c->leader_of($n) }, $slow), 'it is back';
all_warm('... and there', 1);

# ---- no leader

my @others = grep { $_ != $n } $c->nodes;
$c->crash(@others);
ok $n->wait_for(sub { !$c->leader_of($n) }, $slow), 'there is no leader any more';
all_warm('without a leader', 7);
$n->reload({ dns_config => { workers => 2, max_stale => '1s' } });
ok $n->wait_for(sub { ask('q.query.consul', 'A')->{status} eq 'SERVFAIL' }, $slow), 'beyond max_stale there is no answer';
is ask('web.service.consul', 'A')->{status}, 'SERVFAIL', '... about nothing';
$n->reload({ dns_config => { workers => 2, max_stale => '1h' } });
ok $n->wait_for(sub { ask('q.query.consul', 'A')->{status} eq 'NOERROR' }, $slow), 'with another max_stale there is';
$n->reload({ dns_config => { workers => 2, max_stale => '1s' } });
$_->start for @others;
ok $n->wait_for(sub { $c->leader_of($n) }, $slow), 'a leader again';
ok $n->wait_for(sub { !grep { ask(@$_)->{status} ne 'NOERROR' } @warm }, $slow), 'and all is as new as it has to be';
done_testing;
