#!/usr/bin/perl
# Warm names are answered while raftd is away, new ones once it is back; dnsd
# killed is back within a second and loses no question in its sockets.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Test::More;
use Time::HiRes qw(sleep time);
use Dns;
use Node;

my $n = Node->new(name => 'server');

Dns::catalog($n, 'node1', '10.0.0.1', { Service => 'web', Port => 80 });
Dns::catalog($n, 'node2', '10.0.0.2', { Service => 'cold', Port => 80 });
my @warm = (['web.service.consul', 'A', 'NOERROR'], ['web.service.consul', 'SRV', 'NOERROR'],
	['node1.node.consul', 'A', 'NOERROR'], ['consul', 'SOA', 'NOERROR'], ['x.consul', 'A', 'NXDOMAIN']);
is Dns::ask($n, $_->[0], $_->[1])->{status}, $_->[2], "warm: $_->[0] $_->[1]" for @warm;

sub new_pid
{
	my ($name, $old) = @_;

	return $n->wait_for(sub { my %p = $n->pids; $p{$name} && $p{$name} != $old && $p{$name} }, 10);
}

# ---- raftd

for my $round (1 .. 3) {
	my %p = $n->pids;
	my ($asked, $failed, $back) = (0, 0, 0);
	my $end = time + 20;

	kill KILL => $p{raftd};
	# A name nobody asked for before waits until raftd is back.
	my $s = Dns::socket_udp($n);
	$s->send(Dns::query($round == 1 ? 'cold.service.consul' : "new$round.service.consul", 'A'));
	while (time < $end && !$back) {
		for (@warm) {
			my $r = Dns::ask($n, $_->[0], $_->[1]);
			$asked++;
			next if $r && $r->{status} eq $_->[2];
			$failed++;
			diag "$_->[0] $_->[1]: ", $r ? $r->{status} : 'no answer';
		}
		my %now = $n->pids;
		$back = $now{raftd} && $now{raftd} != $p{raftd} && ($n->http('GET', '/v1/status/leader'))[2] =~ /:/;
	}
	ok $back, "raftd came back ($round)";
	is $failed, 0, "... and of $asked questions about warm names none failed";
	ok(IO::Select->new($s)->can_read(5), '... and the new name was answered');
	$s->recv(my $reply, 4096);
	is Dns::parse($reply)->{status}, $round == 1 ? 'NOERROR' : 'NXDOMAIN', '... as it should be';
}
Dns::catalog($n, 'node3', '10.0.0.3', { Service => 'web', Port => 80 });
ok $n->wait_for(sub { @{Dns::ask($n, 'web.service.consul', 'A')->{answer}} == 2 }, 5), 'changes after that are seen';

# ---- dnsd

for my $round (1 .. 3) {
	my %p = $n->pids;
	my ($refused, $slowest) = (0, 0);
	my $since = time;

	kill KILL => $p{dnsd};
	while (time < $since + 1.5) {
		my $t = time;
		my $r = Dns::parse(Dns::udp($n, Dns::query('web.service.consul', 'A'), 3));
		$refused++ if !$r || $r->{status} ne 'NOERROR';
		$slowest = time - $t if time - $t > $slowest;
		$refused++ if !Dns::socket_tcp($n);
	}
	my $pid = new_pid('dnsd', $p{dnsd});
	ok $pid, "dnsd came back ($round)";
	is $refused, 0, '... and no question or connection was refused or lost meanwhile';
	cmp_ok $slowest, '<', $ENV{TEST_TIMEOUT} // 1, '... nor took a second';
}
ok $n->running, 'the node is whole';
done_testing;
