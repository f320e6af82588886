#!/usr/bin/perl
# TCP as RFC 7766 has it: pipelined questions, clients that are slow on either
# side or half gone, long messages, bounds on connections, and how long they last.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Test::More;
use Socket qw(SOL_SOCKET SO_RCVBUF);
use Time::HiRes qw(sleep time);
use Dns;
use Dnsd;
use Recursor;

my $late = Recursor->new({ 'late.example' => { A => ['192.0.2.1'], delay => 11 } });
my $d = Dnsd->new({ services => {
	web => [map { Dnsd::entry('web', "n$_", "10.0.0.$_", { Port => 80 }) } 1 .. 3],
	many => [map { Dnsd::entry('many', "node$_", '10.1.' . int($_ / 250) . '.' . ($_ % 250 + 1), { Port => 80 }) } 1 .. 2000],
} }, { log_level => 'info', recursors => [$late->{address}], dns_config => { recursor_timeout => 20000, workers => 1 } });
my $web = Dns::tcp_frame(Dns::query('web.service.consul', 'A'));
my $many = Dns::tcp_frame(Dns::query('many.service.consul', 'A'));

sub from
{
	my ($local) = @_;

	return IO::Socket::INET->new(PeerAddr => $d->{ip}, PeerPort => $d->{ports}{dns}, LocalAddr => $local) // die "connect: $!";
}
sub served { my ($s) = @_; my $n = syswrite $s, $web; return $n && (Dns::parse(Dns::tcp_read($s, 10)) // { status => 'none' })->{status} eq 'NOERROR'; }
sub small { my ($s) = @_; setsockopt $s, SOL_SOCKET, SO_RCVBUF, pack 'i', 4096; return $s; }

# The name is warm from here on.
ok served(Dns::socket_tcp($d)), 'a question and its answer';

# What lasts long begins at once.
my $patient = Dns::socket_tcp($d);
syswrite $patient, Dns::tcp_frame(Dns::query('late.example', 'A', id => 77));
my $begun = time;
my $greedy = small(Dns::socket_tcp($d));
syswrite $greedy, $many x 200;
my $half = Dns::socket_tcp($d);
syswrite $half, substr $web, 0, 9;
my $idle = Dns::socket_tcp($d);

# ---- pipelining

my $s = Dns::socket_tcp($d);
my $out = join '', map { Dns::tcp_frame(Dns::query('web.service.consul', $_ % 2 ? 'A' : 'SRV', id => $_)) } 1 .. 3000;
if ((my $pid = fork // die "fork: $!") == 0) {
	print $s $out;
	POSIX::_exit(0);
}
my %ids;
while (keys %ids < 3000) {
	my $r = Dns::parse(Dns::tcp_read($s, 20)) or last;
	$ids{$r->{id}}++;
}
is keys %ids, 3000, '3000 questions on one connection';
is +(grep { $_ != 1 } values %ids), 0, '... each answered once';
wait;

# ---- the option that asks how long it is kept (RFC 7828)

sub with_option
{
	my ($options) = @_;
	my $p = Dns::query('web.service.consul', 'A', edns => 1232);

	substr($p, -2) = pack('n', length $options) . $options;
	return $p;
}
sub option { my ($reply) = @_; return unpack 'H*', substr $reply, -6; }

$s = Dns::socket_tcp($d);
syswrite $s, Dns::tcp_frame(with_option(pack 'n n', 11, 0));
is option(Dns::tcp_read($s)), '000b00020064', 'a client that asks is told 10 seconds';
isnt option(Dns::udp($d, with_option(pack 'n n', 11, 0))), '000b00020064', '... over UDP it is not';

# ---- long messages, and lengths that lie

$s = Dns::socket_tcp($d);
my $long = with_option(pack('n n', 12, 65535 - 500) . "\0" x (65535 - 500));
syswrite $s, Dns::tcp_frame($long) x 3;
is Dns::parse(Dns::tcp_read($s, 10))->{status}, 'NOERROR', "a question of 64 KiB ($_)" for 1 .. 3;
syswrite $s, Dns::tcp_frame(pack('n6', 5, 0x100, 13100, 0, 0, 0) . ("\0\0\1\0\1" x 13100));
my $r = Dns::parse(Dns::tcp_read($s, 10));
is $r->{status}, 'FORMERR', '13100 questions in one message';
syswrite $s, Dns::tcp_frame("\0" x 65535);
is Dns::parse(Dns::tcp_read($s, 10))->{status}, 'FORMERR', '64 KiB of nothing';
syswrite $s, Dns::tcp_frame(with_option("\xff" x 65000));
is Dns::parse(Dns::tcp_read($s, 10))->{status}, 'FORMERR', '64 KiB of options that are none';
ok served($s), 'the connection is as good as before';
syswrite $s, "\xff\xff" . substr $web, 2;
shutdown $s, 1;
is Dns::tcp_read($s, 10), undef, 'a length that is never kept: the end is answered by the end';

# ---- a slow reader gets all of it, one that reads nothing is let go

my $slow = small(Dns::socket_tcp($d));
syswrite $slow, $many x 20;
my ($got, $bytes, $first) = (0, '', time);
my $end = time + 200;
while ($got < 20 && time < $end) {
	last if !sysread $slow, $bytes, 65536, length $bytes;
	while (length $bytes >= 2 && length $bytes >= 2 + unpack 'n', $bytes) {
		my $p = substr $bytes, 2, unpack 'n', $bytes;
		substr $bytes, 0, 2 + length $p, '';
		$got++ if eval { @{Dns::parse($p)->{answer}} == 2000 };
	}
	sleep 0.06;
}
is $got, 20, sprintf 'a slow reader gets all answers (in %.1f s)', time - $first;

# ---- those from the beginning

$r = Dns::parse(Dns::tcp_read($patient, 30)) // {};
is $r->{id}, 77, 'an answer that takes a recursor 11 seconds arrives';
cmp_ok time - $begun, '>', 10.5, '... after those';
is Dns::tcp_read($half, 20), undef, 'half a question: closed';
is Dns::tcp_read($idle, 20), undef, 'no question: closed';
ok $d->wait_for(sub { $d->info->{tcp_connections} <= 3 }), 'who takes none of its answers is closed';
ok served(Dns::socket_tcp($d)), 'it is well';

# ---- a client's share of the connections

my (@a, $b);
(my $other = $d->{ip}) =~ s/\d+$/($& + 1) % 250 + 1/e;
$b = from($other);
ok served($b), 'a connection from another address';
push @a, Dns::socket_tcp($d) for 1 .. 300;
ok served($a[-1]), '300 connections from one address: the newest is served';
is Dns::tcp_read($a[0], 10), undef, '... its oldest is closed';
cmp_ok $d->info->{tcp_connections}, '<=', 258, '... it has 256';
ok served($b), 'the other address has kept its own';
my $third = join '.', 127, 77, 1 + $$ % 200, 1;
push @a, from($third) for 1 .. 300;
ok served($a[-1]), 'a third address has as many';
cmp_ok $d->info->{tcp_connections}, '<=', 512, '... 512 in all';
@a = ();

# ---- the end

my $last = Dns::socket_tcp($d);
kill STOP => $d->{raftd_pid};
syswrite $last, Dns::tcp_frame(Dns::query('new.service.consul', 'A', id => 3));
ok $d->wait_for(sub { $d->info->{questions_waiting} > 0 }), 'a question waits when it is told to stop';
kill TERM => $d->{pid};
sleep 0.2;
kill CONT => $d->{raftd_pid};
is +(Dns::parse(Dns::tcp_read($last, 10)) // { id => 'none' })->{id}, 3, '... and is answered before the end';
done_testing;
