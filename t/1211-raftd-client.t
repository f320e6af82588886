#!/usr/bin/perl
# A client node's raftd: everything goes to some server, another one when that is lost, and is held while there is none.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Frame;
use IO::Socket::IP;
use JSON::PP ();
use Test::More;
use Time::HiRes qw(sleep time);

my $seed = $ENV{TEST_SEED} // int rand 2**31;
note "TEST_SEED=$seed";
srand $seed;

# One address each in a net of our own, the same port.
my $net = '127.' . (64 + $$ % 64) . '.' . int rand 256;
my $probe = IO::Socket::IP->new(Listen => 1, LocalHost => "$net.1", LocalPort => 0) or die "listen: $!";
my $port = $probe->sockport + 0;
close $probe;
my @dir = map { File::Temp->newdir(TMPDIR => 1) } 0 .. 4;
my (@d, @g, $n);

sub slice
{
	my ($i, %o) = @_;

	return { node_name => "n$i", datacenter => 'dc1', server => JSON::PP::true, bootstrap_expect => 3,
		node_id => sprintf('11111111-2222-3333-4444-%012d', $i), data_dir => "$dir[$i]", bind_addr => "$net.$i",
		advertise_addr => "$net.$i", ports => { server => $port }, log_level => 'INFO', performance => { raft_multiplier => 1,
		rpc_hold_timeout => 7000 }, %o };
}
sub member { my ($i) = @_; return Frame::Gossip::server("n$i", "$net.$i", $port, tags => { id => sprintf('11111111-2222-3333-4444-%012d', $i) }) }
# A daemon beside a gossipd that tells of these servers.
sub start
{
	my ($i, $slice, @servers) = @_;

	$d[$i] = Frame::Daemon->new('raftd', $slice);
	$g[$i] = Frame::Gossip->new($d[$i]{dir}, Frame::Gossip::client('n4', "$net.4"), map { member($_) } @servers);
}
sub client { return slice($_[0], server => JSON::PP::false, bootstrap_expect => 0, @_[1 .. $#_]) }
my ($origin, $seq) = (pack('N4', map { int rand 2**32 } 1 .. 4), 0);
sub put
{
	my ($d, $key, $value, %o) = @_;

	$seq++;
	return $d->ask('kv.apply', { Op => 'set', DirEnt => { Key => $key, Value => $value } },
		$o{plain} ? {} : { Origin => $origin, Seq => $seq, Floor => $seq });
}
sub leader
{
	for (1 .. 600) {
		my ($m, $r) = $d[4]->ask('status.leader', undef, { Consistency => 2 });
		return $1 if ($r // '') =~ /^\Q$net\E\.(\d):/ && $d[$1]{pid};
		sleep 0.05;
	}
	die 'no leader';
}

# ---- nobody to ask
start(4, client(4, performance => { rpc_hold_timeout => 1500 }));
my ($m, $r) = put($d[4], 'a', 'x');
is($r->{Text}, 'No known Consul servers', 'no server is known');
my $from = time;
$g[4]->set(Frame::Gossip::client('n5', "$net.5"), Frame::Gossip::server('alien', "$net.1", $port, tags => { ft_consulctl => undef }),
	Frame::Gossip::server('far', "$net.1", $port, tags => { dc => 'dc2' }), Frame::Gossip::server('dead', "$net.1", $port, Status => 4),
	Frame::Gossip::server('left', "$net.1", $port, Status => 3), Frame::Gossip::server('noport', "$net.1", 'x'),
	Frame::Gossip::server('name', "some.where", $port), Frame::Gossip::server('web', "$net.1", $port, tags => { role => 'web' }));
($m, $r) = put($d[4], 'a', 'x');
is($r->{Text}, 'No known Consul servers', 'others, who are no server of ours that is alive, do not count');
cmp_ok(time - $from, '<', 1.4, 'that is said at once');
is($d[4]->stop, 0, 'it ends');
start(4, client(4, performance => { rpc_hold_timeout => 1500 }), 1 .. 3);
$from = time;
($m, $r) = put($d[4], 'a', 'x');
is($r->{Text}, 'No cluster leader', 'servers are known, and none answers');
cmp_ok(time - $from, '>', 1.4, 'held for a while');
cmp_ok(time - $from, '<', 6, 'not for ever');
$d[4]->stop;
start(4, client(4), 1 .. 3);

# ---- what is asked before there is a cluster waits for it
$d[4]->start('kv.apply', { Op => 'set', DirEnt => { Key => 'early', Value => 'bird' } });
start($_, slice($_), 1 .. 3) for 1 .. 3;
my ($id, $reply);
($id, $m, $r) = $d[4]->reply(30);
ok(defined $m && $r, 'a write that came before the servers') or diag explain $r;

# ---- all kinds
($m, $r) = $d[4]->ask('kv.get', { Key => 'early' });
is($r->[0]{Value}, 'bird', 'a read');
ok($m->{KnownLeader}, 'a leader is known');
($m, $r) = $d[4]->ask('kv.get', { Key => 'early' }, { Consistency => 1 });
is($r->[0]{Value}, 'bird', 'a consistent read');
($m, $r) = $d[4]->ask('session.create', { Node => 'none' });
like($r->{Text}, qr/node/i, 'an error of the leader comes back as it is');
($m, $r) = $d[4]->ask('raft.configuration');
is(scalar @{$r->{Servers}}, 3, 'what operators ask');
($m, $r) = $d[4]->ask('autopilot.health');
ok(defined $m, 'what only the leader answers');
($m, $r) = $d[4]->ask('status.peers');
is(scalar @$r, 3, 'the peers');

# ---- a watch outlives the server that it waits at
sub server_in_use { my ($last) = ($d[4]->log =~ /using server: address=\Q$net\E\.(\d):\d+(?!.*using server)/s); return $last }
($m, $r) = $d[4]->ask('kv.get', { Key => 'early' });
my $watcher = Frame::Client->new("$d[4]{dir}/raftd.sock");
$watcher->start('kv.get', { Key => 'early' }, { MinIndex => $m->{Index} });
for my $round (1 .. 3) {
	my $used = server_in_use();
	my $before = () = $d[4]->log =~ /using server/g;
	my ($bad, $done, $end) = (0, 0, time + 3);

	$d[$used]->stop('KILL');
	while (time < $end) {
		($m, $r) = put($d[4], 'count', 'v' . ++$n);
		if (!defined $m) {
			$bad++;
			diag $r->{Text};
			next;
		}
		($m, $r) = $d[4]->ask('kv.get', { Key => 'count' });
		$bad++ if !defined $m || $r->[0]{Value} ne "v$n";
		$done++;
	}
	is($bad, 0, "round $round: the server in use is killed, and stamped writes and reads do not notice");
	cmp_ok($done, '>', 10, "they go on ($done)");
	my $after = () = $d[4]->log =~ /using server/g;
	cmp_ok($after, '>', $before, 'at another server');
	isnt(server_in_use(), $used, 'really');
	$d[$used]->spawn;
	$d[$used]->connect;
}
($m, $r) = put($d[4], 'early', 'worm');
($id, $m, $r) = $watcher->reply(10);
is($r->[0]{Value}, 'worm', 'the watch has moved with it');

# ---- a node that leaves is not brought back by what it still says of itself
sub register { my ($node) = @_; return $d[4]->ask('catalog.register', { Node => $node, Address => "$net.4", Service => [{ Service => 'web' }] }) }
sub nodes { my (undef, $l) = $d[4]->ask('catalog.nodes', {}); return join ' ', sort grep { /^(?:n4|external)$/i } map { $_->{Node} } @$l }
($m, $r) = register('n4');
ok(defined $m, 'a node registers itself');
for my $status (2, 3) {
	my $what = $status == 2 ? 'is leaving' : 'has left';

	$g[4]->change('n4', Status => $status);
	for (1 .. 300) {
		($m, $r) = register('n4');
		last if !defined $m;
		sleep 0.05;
	}
	is($r->{Code}, 410, "one that $what is refused") or diag explain $r;
	(undef, $r) = $d[4]->ask('catalog.deregister', { Node => 'n4' });
	($m, $r) = register('N4');
	is($r->{Code}, 410, 'in other letters, too');
	($m, $r) = register('external');
	ok(defined $m && $r, 'others may be registered there');
	is(nodes(), 'external', 'the catalog is without it');
}
$g[4]->change('n4', Status => 1);
for (1 .. 300) {
	($m, $r) = register('n4');
	last if defined $m;
	sleep 0.05;
}
ok(defined $m && $r, 'it may come again');

# ---- what gossip says of the server in use
{
	my $used = server_in_use();
	my $before = () = $d[4]->log =~ /using server/g;

	$watcher->start('kv.get', { Key => 'early' }, { MinIndex => $m->{Index} });
	kill 'STOP', $d[$used]{pid};
	$g[4]->change("n$used", Status => 4);
	$from = time;
	($m, $r) = put($d[4], 'switched', 'x');
	ok(defined $m, 'a server that hangs, and that gossip calls failed, is left') or diag explain $r;
	cmp_ok(time - $from, '<', 6, 'long before it would be found silent');
	isnt(server_in_use(), $used, 'for another one');
	kill 'CONT', $d[$used]{pid};
	$g[4]->change("n$used", Status => 1);
	($m, $r) = put($d[4], 'early', 'bug');
	($id, $m, $r) = $watcher->reply(10);
	is($r->[0]{Value}, 'bug', 'the watch has moved with it');
	($m, $r) = put($d[4], 'early', 'worm');

	# One that has left; and gossipd is gone for a while, and comes back with nobody.
	$used = server_in_use();
	$g[4]->change("n$used", Status => 3);
	ok($d[4]->wait_log(qr/node has failed or left: address=\Q$net.$used\E:\d+.*using server: address=\Q$net\E\.(?!$used)/s), 'one that left is left');
	$g[4]->stop;
	($m, $r) = put($d[4], 'away', 'x');
	ok(defined $m, 'without gossipd the servers of before are used');
	$g[4]->start(Frame::Gossip::client('n4', "$net.4"));
	ok($d[4]->wait_log(qr/node has failed or left.*node has failed or left.*the members are known: members=1$/ms), 'gossipd is back');
	($m, $r) = put($d[4], 'back', 'x');
	ok(defined $m, 'and while it has not found the servers again, too') or diag explain $r;
	$g[4]->set(map { member($_) } 1 .. 3);
}

# ---- without a leader
my $l = leader();
$_ != $l and $d[$_]->stop for 1 .. 3;
$from = time;
($m, $r) = put($d[4], 'nobody', 'x');
like($r->{Text}, qr/^No cluster leader|is no longer the cluster's leader|unknown$/, 'no majority: refused');
cmp_ok(time - $from, '>', 1, 'not at once');
cmp_ok(time - $from, '<', 25, 'but in the end');
($m, $r) = $d[4]->ask('kv.get', { Key => 'early' }, { Consistency => 2 });
is($r->[0]{Value}, 'worm', 'stale reads are answered');
for (1 .. 3) {
	next if $_ == $l;
	$d[$_]->spawn;
	$d[$_]->connect;
}
($m, $r) = put($d[4], 'again', 'x');
($m, $r) = put($d[4], 'again', 'x') if !defined $m;
ok(defined $m, 'a majority is back');
for (1 .. 4) {
	is($d[$_]->stop, 0, "n$_ ends in order");
	unlike($d[$_]->log, qr/AddressSanitizer|runtime error|[Aa]ssert/, 'nothing broke');
}

done_testing;
