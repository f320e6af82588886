#!/usr/bin/perl
# Connections between servers are aborted at random: no write is lost, done twice or answered wrongly, and nobody is told.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Frame;
use IO::Socket::IP;
use JSON::PP ();
use Test::More;
use Time::HiRes qw(sleep time);

my $seed = $ENV{TEST_SEED} // int rand 2**31;
srand $seed;

# The kernel must be able to abort others' connections (ss -K), and we must be allowed to.
sub can_abort
{
	my $l = IO::Socket::IP->new(Listen => 1, LocalHost => '127.0.0.1', LocalPort => 0) or return 0;
	my $c = IO::Socket::IP->new(PeerHost => '127.0.0.1', PeerPort => $l->sockport) or return 0;

	return 0 if $> != 0 || system('ss -V >/dev/null 2>&1') != 0;
	my $port = $c->sockport;
	my $out = `ss -K -t src 127.0.0.1 sport = $port 2>/dev/null`;
	return IO::Select->new($c)->can_read(2) ? 1 : 0;
}
plan skip_all => 'connections of others cannot be aborted here' if !can_abort();
note "TEST_SEED=$seed";

my $net = '127.' . (64 + $$ % 64) . '.' . int rand 256;
my $probe = IO::Socket::IP->new(Listen => 1, LocalHost => "$net.1", LocalPort => 0) or die "listen: $!";
my $port = $probe->sockport + 0;
close $probe;
my @dir = map { File::Temp->newdir(TMPDIR => 1) } 0 .. 4;
my (@d, @g);

# 1 to 3 are servers, 4 is a client node.
for my $i (1 .. 4) {
	$d[$i] = Frame::Daemon->new('raftd', { node_name => "n$i", datacenter => 'dc1', server => $i < 4 ? JSON::PP::true : JSON::PP::false,
		bootstrap_expect => $i < 4 ? 3 : 0, node_id => sprintf('11111111-2222-3333-4444-%012d', $i), data_dir => "$dir[$i]",
		bind_addr => "$net.$i", advertise_addr => "$net.$i", ports => { server => $port }, log_level => 'INFO',
		performance => { raft_multiplier => 2 } });
	$g[$i] = Frame::Gossip->new($d[$i]{dir}, map { Frame::Gossip::server("n$_", "$net.$_", $port) } 1 .. 3);
}

# Each write is read again through the same daemon: one line a failure, then how many went well.
my ($seconds, $clients) = (10, 6);
sub client
{
	my ($k, $out) = @_;
	my ($n, $ok, $end) = (0, 0, time + $seconds);
	my $c = Frame::Client->new("$d[1 + $k % 4]{dir}/raftd.sock");
	my $origin = pack 'N4', $seed & 0xffffffff, $$, $k, 1;

	while (time < $end) {
		$n++;
		my ($m, $r) = $c->ask('kv.apply', { Op => 'set', DirEnt => { Key => "k$k", Value => "v$n" } },
			{ Origin => $origin, Seq => $n, Floor => $n });
		print $out "write $n: $r->{Text}\n" if !defined $m;
		my $index = $m->{Index} // 0;
		($m, $r) = $c->ask('kv.get', { Key => "k$k" });
		if (!defined $m) {
			print $out "read $n: $r->{Text}\n";
		} elsif ($r->[0]{Value} ne "v$n") {
			print $out "wrote v$n, read $r->[0]{Value}\n";
		} elsif ($r->[0]{ModifyIndex} > $index) {
			print $out "v$n was written again: $index, then $r->[0]{ModifyIndex}\n";
		} else {
			$ok++;
		}
	}
	print $out "ok $ok\n";
}

my @out;
for my $k (1 .. $clients) {
	pipe my $in, my $to or die "pipe: $!";
	my $pid = fork // die "fork: $!";

	if ($pid == 0) {
		close $in;
		eval { client($k, $to) };
		print $to $@ if $@;
		close $to;
		POSIX::_exit(0);
	}
	close $to;
	push @out, [ $pid, $in ];
}
my ($end, $aborted) = (time + $seconds, 0);
while (time < $end) {
	sleep rand 0.5;
	my ($from, $to) = (1 + int rand 4, 1 + int rand 3);
	my $list = `ss -K -t src $net.$from dst $net.$to 2>/dev/null`;
	$aborted += () = $list =~ /ESTAB/g;
}
cmp_ok($aborted, '>', 10, "connections were aborted ($aborted)");
for my $k (1 .. $clients) {
	my ($pid, $in) = @{$out[$k - 1]};
	my @lines = <$in>;

	waitpid $pid, 0;
	my ($ok) = map { /^ok (\d+)/ } @lines;
	is(join('', grep { !/^ok/ } @lines), '', "client $k noticed nothing");
	cmp_ok($ok // 0, '>', 20, 'and went on (' . ($ok // 0) . ')');
}
for (1 .. 4) {
	is($d[$_]->stop, 0, "n$_ ends in order");
	unlike($d[$_]->log, qr/AddressSanitizer|runtime error|[Aa]ssert/, 'nothing broke');
}

done_testing;
