#!/usr/bin/perl
# Three servers and three client nodes formed by `consulctl join`, as somebody would who has read the README: members, services of other
# nodes, a graceful leave, a node killed and back, a partition that heals.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Cluster;
use Test::More;
use Time::HiRes qw(sleep time);

my $ns = Cluster::can_namespace();
Cluster::namespace() if $ns;

my $c = Cluster->new(servers => 3, start => 0, net => $ns ? 'ns' : 'loopback', config => { retry_join => [],
	gossip_lan => { gossip_interval => '100ms', probe_interval => '500ms', probe_timeout => '250ms', suspicion_mult => 3 } });
$c->add(server => 0, start => 0, wait => 'none', config => { server => JSON::PP::false, bootstrap_expect => 0,
	service => { name => "web", id => "web-$_", port => 8000 + $_, check => { id => "ttl-$_", ttl => '1h', status => 'passing' } } })
	for 4 .. 6;
for my $n ($c->nodes) {
	$n->{config}{retry_join} = [];
	$n->write_config;
	$n->start;
}
$_->wait_ready('agent') for $c->nodes;
my @s = map { $c->node($_) } 1 .. 3;
my @k = map { $c->node($_) } 4 .. 6;

# { name => status } by `consulctl members`
sub members
{
	my ($n) = @_;
	my ($rc, $out) = $n->ctl('members');
	my %m;

	for (split /\n/, $out) {
		my ($name, undef, $status, $type) = split ' ';
		$m{$name} = "$status $type" if $name ne 'Node';
	}
	return \%m;
}
my %all = ((map { $_->{name} => 'alive server' } @s), (map { $_->{name} => 'alive client' } @k));
sub members_are
{
	my ($want, $what, @at) = @_;
	my %bad;

	my $ok = $s[0]->wait_for(sub {
		%bad = map { $_->{name} => members($_) } @at;
		for my $m (values %bad) {
			# Who has restarted meanwhile does not hear of those that had left.
			$m->{$_} //= $want->{$_} for grep { $want->{$_} =~ /^left/ } keys %$want;
			return 0 if join(',', map { "$_=$m->{$_}" } sort keys %$m) ne join(',', map { "$_=$want->{$_}" } sort keys %$want);
		}
		return 1;
	}, 60);
	ok($ok, $what) or diag explain(\%bad), $c->logs;
}

# ---- alone, each knows itself
is_deeply(members($k[0]), { $k[0]{name} => 'alive client' }, 'a node that has joined nobody is its only member');
is(($k[0]->http('PUT', '/v1/kv/a', 'x'))[0], 500, 'and finds no servers');
like(($k[0]->http('PUT', '/v1/kv/a', 'x'))[2], qr/No known Consul servers/, 'which it says');

# ---- joining: each through one known member, not always the same, servers and clients mixed
my @through = ([$s[1], $s[0]], [$k[0], $s[0]], [$s[2], $k[0]], [$k[1], $s[2]], [$k[2], $k[1]]);
for (@through) {
	my ($rc, $out, $err) = $_->[0]->ctl('join', $_->[1]{ip});
	is($rc, 0, "$_->[0]{name} joins through $_->[1]{name}") or diag $err, $c->logs;
	is($out, "Successfully joined cluster by contacting 1 nodes.\n", 'and says so');
}
$c->wait_all(@s);
members_are(\%all, 'consulctl members is right on all six', $c->nodes);
my ($rc, $out, $err) = $k[0]->ctl('join', "$s[0]{ip}:1");
isnt($rc, 0, 'where nobody is, nobody is joined');
like($err, qr/^Error joining address .*\nFailed to join any nodes\.\n\z/s, 'in words');

# ---- clients forward to servers, and find what others have registered
is(($k[$_]->http('PUT', "/v1/kv/from-$_", "client $_"))[0], 200, "a write at client $_") for 0 .. 2;
is(($k[2]->ctl('kv', 'get', 'from-0'))[1], "client 0\n", 'is read at another');
sub web
{
	my ($n) = @_;
	my $l = eval { $n->get_json('/v1/health/service/web?passing') } // [];

	return join ',', sort map { $_->{Service}{ID} } @$l;
}
for my $n ($c->nodes) {
	ok($n->wait_for(sub { web($n) eq 'web-4,web-5,web-6' }, 60), "the services of all nodes are found on $n->{name}") or diag web($n), $c->logs;
}
ok($k[0]->wait_for(sub { my @a = split ' ', $k[0]->dig('web.service.consul', '+short', '+tcp'); @a == 3 }), 'by DNS too');
my $nodes = $s[0]->get_json('/v1/catalog/nodes');
is_deeply([sort map { $_->{Node} } @$nodes], [sort keys %all], 'the catalog has all nodes');
is_deeply([map { $_->{Status} } grep { $_->{CheckID} eq 'serfHealth' } @{$k[1]->get_json('/v1/health/state/any')}], [('passing') x 6], 'all healthy');
opendir my $dir, "$k[0]{data_dir}" or die $!;
is_deeply([sort grep { !/^\./ } readdir $dir], [grep { -e "$k[0]{data_dir}/$_" } qw(checks node-id raft run serf services)], 'a client stores its own things');
ok(!glob("$k[0]{data_dir}/raft/*"), 'and no log');

# ---- a graceful leave takes the node out of the catalog
($rc, $out) = $k[2]->ctl('leave');
is($out, "Graceful leave complete\n", 'a client leaves');
is($k[2]->wait_exit, 0, 'and its agent ends with 0');
delete $all{$k[2]{name}};
my %now = (%all, $k[2]{name} => 'left client');
members_are(\%now, 'it is left', @s, @k[0, 1]);
ok($s[0]->wait_for(sub { web($s[0]) eq 'web-4,web-5' }), 'its services are gone') or diag web($s[0]);
ok(!(grep { $_->{Node} eq $k[2]{name} } @{$s[1]->get_json('/v1/catalog/nodes')}), 'the node too');
is_deeply($s[1]->get_json("/v1/health/node/$k[2]{name}"), [], 'and its checks');

# ---- one killed stays, critical; restarted it is back without a word
my ($status, undef, $body) = $k[1]->http('PUT', '/v1/session/create', '{"Name":"mine"}');
is($status, 200, 'a session of the node');
$c->crash($k[1]);
$now{$k[1]{name}} = 'failed client';
members_are(\%now, 'a node that was killed is failed', @s, $k[0]);
ok($s[0]->wait_for(sub { my ($h) = grep { $_->{CheckID} eq 'serfHealth' } @{$s[0]->get_json("/v1/health/node/$k[1]{name}")}; $h && $h->{Status} eq 'critical' }),
	'its serfHealth is critical') or diag $c->logs;
ok($k[0]->wait_for(sub { web($k[0]) eq 'web-4' }), 'its service is not returned any more') or diag web($k[0]);
is(scalar @{$s[0]->get_json('/v1/catalog/service/web')}, 2, 'though it is still registered');
ok($s[0]->wait_for(sub { !@{$s[0]->get_json('/v1/session/list')} }), 'its session has ended');
$k[1]->start;
$now{$k[1]{name}} = 'alive client';
members_are(\%now, 'restarted, it is back by itself', @s, @k[0, 1]);
ok($s[0]->wait_for(sub { web($s[0]) eq 'web-4,web-5' }), 'with its service') or diag web($s[0]), $c->logs;

# ---- a server away: clients go to another one
my $leader = $c->leader(@s);
$c->crash($leader);
my @others = grep { $_ != $leader } @s;
for my $n (@k[0, 1]) {
	ok($n->wait_for(sub { ($n->http('PUT', "/v1/kv/after-$n->{name}", 'y'))[0] == 200 }, 60), "$n->{name} writes without it") or diag $c->logs;
}
$now{$leader->{name}} = 'failed server';
members_are(\%now, 'it is failed', @others, @k[0, 1]);
$leader->start;
$now{$leader->{name}} = 'alive server';
members_are(\%now, 'and back', @s, @k[0, 1]);

# ---- a partition heals
SKIP: {
	skip 'namespaces cannot be made here', 5 if !$ns;
	$c->wait_all(@s);
	my $cut = $k[0];
	$c->cut($cut);
	my %without = (%now, $cut->{name} => 'failed client');
	members_are(\%without, 'a node that is cut off is failed', @s, $k[1]);
	$c->heal($cut);
	members_are(\%now, 'and alive again everywhere when it is back, also by itself', @s, @k[0, 1]);
	my $server = (grep { $_ != $c->leader(@s) } @s)[0];
	$c->cut($server);
	members_are({ %now, $server->{name} => 'failed server' }, 'a server that is cut off is failed', (grep { $_ != $server } @s), @k[0, 1]);
	is(($k[0]->http('PUT', '/v1/kv/during', 'z'))[0], 200, 'the others go on');
	$c->heal($server);
	members_are(\%now, 'and it is back', @s, @k[0, 1]);
}
done_testing;
