#!/usr/bin/perl
# One gossipd: members, tags, watches, join, leave, force-leave, ports, reload.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Frame;
use IO::Select;
use IO::Socket::INET;
use Test::More;

my $ip = sprintf '127.%d.%d.%d', 1 + ($$ >> 16 & 63), $$ >> 8 & 255, 1 + ($$ & 127);

sub free_port
{
	for (1 .. 200) {
		my $p = 10000 + int rand 20000;
		my $t = IO::Socket::INET->new(LocalAddr => $ip, LocalPort => $p, Listen => 1) or next;
		my $u = IO::Socket::INET->new(LocalAddr => $ip, LocalPort => $p, Proto => 'udp') or next;
		return $p;
	}
	die 'no free port';
}

my ($lan, $wan) = (free_port(), free_port());
my $slice = {
	node_name => 'n1', node_id => '4b1f7f0c-0001-4d0e-8000-000000000001', datacenter => 'dc1', server => JSON::PP::true,
	bootstrap_expect => 1, bind_addr => $ip, advertise_addr => $ip, log_level => 'DEBUG',
	ports => { serf_lan => $lan, serf_wan => $wan, server => 8300 },
};
my $d = Frame::Daemon->new('gossipd', $slice);

my ($meta, $members) = $d->ask('gossip.members', {});
is(scalar @$members, 1, 'a node alone is its only member');
my %tags = %{delete $members->[0]{Tags}};
is_deeply($members->[0], { Name => 'n1', Addr => $ip, Port => $lan, Status => 1, ProtocolMin => 1, ProtocolMax => 5,
	ProtocolCur => 2, DelegateMin => 2, DelegateMax => 5, DelegateCur => 4 }, 'the member as Consul shows it');
is_deeply(\%tags, { role => 'consul', dc => 'dc1', id => $slice->{node_id}, build => '1.10.12:', vsn => '2', vsn_min => '2',
	vsn_max => '3', raft_vsn => '3', port => '8300', segment => '', acls => '0', ft_fs => '1', ft_si => '1', bootstrap => '1',
	wan_join_port => "$wan", ft_consulctl => '1' }, 'tags of a server');

my ($wmeta, $wmembers) = $d->ask('gossip.members', { WAN => JSON::PP::true });
is($wmembers->[0]{Name}, 'n1.dc1', 'WAN names carry the datacenter');
is($wmembers->[0]{Port}, $wan, 'and the WAN port');

my ($m, $r) = $d->ask('gossip.join', { Addrs => ["$ip:$lan"] });
is($r, 1, 'joining itself contacts one node');
my $closed = free_port();
($m, $r) = $d->ask('gossip.join', { Addrs => ["$ip:$closed"] });
is_deeply($r, { Code => 500, Text => "1 error occurred:\n\t* Failed to join $ip:$closed: dial tcp $ip:$closed: connect: connection refused\n\n" },
	'an address where nobody listens');
($m, $r) = $d->ask('gossip.join', { Addrs => ["$ip:$closed", "$ip:$lan"] });
is($r, 1, 'one good address is enough');
($m, $r) = $d->ask('gossip.join', { Addrs => ["$ip:$closed", 'x:y:z:'] });
like($r->{Text}, qr/^2 errors occurred:\n\t\* Failed to join .*\n\t\* Failed to /, 'two bad ones are two errors');

($m, $r) = $d->ask('gossip.force_leave', { Node => 'zz' });
is_deeply($r, { Code => 500, Text => q(agent: No node found with name 'zz') }, 'force-leave of an unknown node');
($m, $r) = $d->ask('gossip.force_leave', { Node => 'n1' });
ok(defined $m, 'force-leave of a live one does nothing');
($m, $members) = $d->ask('gossip.members', {});
is($members->[0]{Status}, 1, 'it is still alive');

# One message a stream, by hand.
sub stream
{
	my ($bytes) = @_;
	my $tcp = IO::Socket::INET->new(PeerAddr => $ip, PeerPort => $lan, Timeout => 10) or die "$ip:$lan: $!";
	my $got = '';

	syswrite $tcp, $bytes;
	while (IO::Select->new($tcp)->can_read(30)) {
		sysread($tcp, $got, 65536, length $got) or return $got;
	}
	die 'the stream stays open';
}
like(stream("\x00\x82\xa4Node\xa2n1\xa5SeqNo\x07"), qr/^\x09.*\xa3Buf/s, 'a ping over TCP is answered');
is(stream("\x00\x82\xa4Node\xa2n2\xa5SeqNo\x07"), '', 'one for somebody else is not');
cmp_ok(length stream("\x06\x83\xa4Join\xc3\xa5Nodes\x00\xacUserStateLen\x00"), '>', 100, 'a push/pull of nobody is answered with the whole state');
is(stream("\x08\x81\xaaUserMsgLen\x01\x03"), '', 'a user message is not answered');
like(stream("\x55"), qr/^\x09/, 'what cannot be read is answered with an error');
my $udp = IO::Socket::INET->new(PeerAddr => $ip, PeerPort => $lan, Proto => 'udp');
$udp->send('x' x 1000) for 1 .. 3;

my (undef, $info) = $d->ask('daemon.info');
is($info->{serf_lan}{members}, 1, 'info counts members');
is($info->{serf_wan}{failed}, 0, 'and knows the WAN pool');
is($info->{serf_lan}{encrypted}, 'false', 'nothing is encrypted');

# A second daemon on the same ports must fail with a sentence and exit 78.
my $second = Frame::Daemon->new('gossipd', $slice, ready => 0);
is($second->wait >> 8, 78, 'a port in use is a failure to start');
like($second->log, qr/cannot listen on TCP address $ip:$lan for serf_lan: /, 'that names the address');

# Reload: what needs a restart is told.
my %changed = (%$slice, node_name => 'n2');
$d->write_slice(\%changed);
($m, $r) = $d->ask('daemon.reload');
is($r, 'node_name', 'reload tells what needs a restart');
$d->write_slice($slice);
($m, $r) = $d->ask('daemon.reload');
is($r, '', 'and nothing once it is undone');

# A watch waits, and leaving wakes it.
my $watcher = Frame::Client->new("$d->{dir}/gossipd.sock");
$watcher->start('gossip.members', {}, { MinIndex => $meta->{Index} });
is(scalar(my @none = $watcher->reply(0.3)), 0, 'a watch of the current index waits');
my $restarted = Frame::Client->new("$d->{dir}/gossipd.sock");
($m, $r) = $restarted->ask('gossip.members', {}, { MinIndex => $meta->{Index} + 1000 });
is($m->{Index}, $meta->{Index}, 'an index of another life is answered at once');

($m, $r) = $d->ask('gossip.leave');
ok(defined $m, 'leave is answered when it is complete');
my (undef, $wm, $after) = $watcher->reply;
cmp_ok($wm->{Index}, '>', $meta->{Index}, 'the watch woke with a higher index');
like($after->[0]{Status}, qr/^[23]$/, 'leaving or left');
($m, $members) = $d->ask('gossip.members', {});
is($members->[0]{Status}, 3, 'left in the end');

is($d->stop >> 8, 0, 'SIGTERM ends it with 0');
unlike($d->log, qr/ERROR|runtime error|AddressSanitizer/, 'and nothing was wrong');

# A client has no WAN pool.
my $c = Frame::Daemon->new('gossipd', { %$slice, server => JSON::PP::false, ports => { serf_lan => free_port() } });
($m, $members) = $c->ask('gossip.members', {});
is($members->[0]{Tags}{role}, 'node', 'the role of a client');
($m, $members) = $c->ask('gossip.members', { WAN => JSON::PP::true });
is_deeply($members, [], 'no WAN members');
($m, $r) = $c->ask('gossip.join', { Addrs => ['127.0.0.1'], WAN => JSON::PP::true });
is($r->{Text}, 'WAN federation disabled', 'nor a WAN join');

done_testing;
