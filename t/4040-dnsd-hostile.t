#!/usr/bin/perl
# Malformed packets, mutated packets, and TCP clients of all manners: each is
# refused or left unanswered, and nobody else notices.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Test::More;
use Time::HiRes qw(sleep time);
use Dns;
use Dnsd;

my $d = Dnsd->new({ services => {
	web => [map { Dnsd::entry('web', "n$_", "10.0.0.$_", { Port => 80 }) } 1 .. 3],
	many => [map { Dnsd::entry('many', "node$_", '10.1.' . int($_ / 250) . '.' . ($_ % 250 + 1), { Port => 80 }) } 1 .. 2000],
	consul => [Dnsd::entry('consul', 'n1', '10.0.0.1')],
}, nodes => { n1 => { Node => 'n1', Address => '10.0.0.1', Meta => { a => 'b' } } } }, { log_level => 'info', dns_config => { workers => 1 } });
my $query = Dns::query('web.service.consul', 'A');

sub alive { return (Dns::ask($d, 'web.service.consul', 'A') // { status => 'none' })->{status} eq 'NOERROR'; }
sub put { my ($p, $at, $bytes) = @_; substr($p, $at, length $bytes) = $bytes; return $p; }

# ---- one packet at a time

sub refused
{
	my ($packet, $status, $what) = @_;
	my $r = Dns::parse(Dns::udp($d, $packet, 3));

	is $r ? $r->{status} : 'none', $status, $what;
	is $r && $r->{id}, 1, '... with its id' if $status ne 'none';
}

sub silent { my ($packet, $what) = @_; is Dns::udp($d, $packet, 0.2), undef, $what; }

silent('', 'nothing');
silent('x' x 11, 'less than a header');
silent(put($query, 2, "\x81"), 'a response');
refused(put($query, 2, "\x11"), 'NOTIMP', 'opcode STATUS');
refused(put($query, 2, "\x21"), 'NOTIMP', 'opcode NOTIFY');
refused(put($query, 2, "\x29"), 'NOTIMP', 'opcode UPDATE');
refused(substr($query, 0, 12), 'FORMERR', 'a header alone');
refused(put($query, 5, "\0"), 'FORMERR', 'no question');
refused(put($query, 5, "\2"), 'FORMERR', 'two questions');
refused(pack('n6', 1, 0x100, 65535, 0, 0, 0) . ("\0\0\1\0\1" x 300), 'FORMERR', 'a packet full of questions');
refused(put($query, 12, "\xc0\x0c"), 'FORMERR', 'a name that points to itself');
refused(put($query, 12, "\x7f"), 'FORMERR', 'a label of 127');
refused(substr($query, 0, 20), 'FORMERR', 'a name that ends too early');
refused(put($query, 7, "\1"), 'FORMERR', 'a record that is not there');
refused(put($query, 11, "\1") . "\0" . pack('n n N n', 41, 4096, 0, 65535), 'FORMERR', 'an OPT that is longer than the packet');
refused($query . ('x' x 20000), 'FORMERR', 'a packet of 20 KB');
refused(Dns::query('x' x 63 . ('.' . 'y' x 60) x 3 . '.consul', 'A'), 'NXDOMAIN', 'the longest of names') for 1;
is Dns::ask($d, "a\0b.service.consul", 'A')->{status}, 'NXDOMAIN', 'a name with a NUL';
is Dns::ask($d, "\xff\xfe.service.consul", 'A')->{status}, 'NXDOMAIN', 'a name of no encoding';
is Dns::ask($d, '.', 'A')->{status}, 'REFUSED', 'the root';
is Dns::ask($d, 'web.service.consul', 65280)->{status}, 'NOERROR', 'a type that nobody knows';
is Dns::parse(Dns::udp($d, $query . 'behind'))->{status}, 'NOERROR', 'bytes behind the question are passed over';
ok alive(), 'it is well';

# ---- mutations, seeded

my $seed = $ENV{TEST_SEED} // 20261;
srand $seed;
my @seeds = ($query, Dns::query('web.service.consul', 'SRV', edns => 1232), Dns::query('n1.node.consul', 'ANY'),
	Dns::query('consul', 'SOA', edns => 4096), Dns::query('7f000001.addr.consul', 'AAAA'), Dns::query('_web._tcp.consul', 'SRV'));
my $sock = Dns::socket_udp($d);
my $bad = 0;
for my $i (1 .. 4000) {
	my $p = $seeds[rand @seeds];
	for (0 .. rand 4) {
		my $how = int rand 4;
		if ($how == 0) { substr($p, rand length $p, 1) = chr rand 256; }
		elsif ($how == 1) { $p = substr $p, 0, rand length $p; }
		elsif ($how == 2) { $p .= chr rand 256; }
		else { my $at = rand length $p; substr($p, $at, 0) = substr $p, rand length $p, rand 20; }
		last if $p eq '';
	}
	$sock->send($p);
	next if $i % 20;
	while (IO::Select->new($sock)->can_read(0)) {
		$sock->recv(my $reply, 65535);
		eval { Dns::parse($reply); 1 } or $bad++;
	}
}
is $bad, 0, "every answer to a mutated question is whole (seed $seed)";
ok alive(), 'it is well';

# ---- every byte of real questions set to every value, and each of their lengths

$bad = 0;
my ($sent, $taken) = (0, 0);
my $drain = sub {
	my ($wait) = @_;
	while (IO::Select->new($sock)->can_read($wait)) {
		$sock->recv(my $reply, 65535);
		$taken++;
		eval { Dns::parse($reply); 1 } or $bad++;
	}
};
my $cookie = Dns::query('web.service.consul', 'A', edns => 1232);
substr($cookie, -2) = pack 'n n n a8 n n n C C a3', 12 + 11 + 4, 10, 8, 'abcdefgh', 8, 7, 1, 24, 0, "\1\2\3";
$cookie .= pack 'n n', 11, 0;
for my $real ($query, $cookie) {
	for my $at (0 .. length($real) - 1) {
		for my $v (0 .. 255) {
			$sock->send(put($real, $at, chr $v));
			$drain->(0) if ++$sent % 50 == 0;
		}
	}
	$sock->send(substr $real, 0, $_) for 0 .. length $real;
}
$drain->(1);
is $bad, 0, "every byte of two questions set to every value: each answer is whole";
cmp_ok $taken, '>', $sent / 4, '... and there are answers';
ok alive(), 'it is well';

# Pointers that lead round in circles, forwards and into the header, in names before and behind the question's.
for my $to (0, 4, 11 .. 40) {
	refused(pack('n6', 1, 0x100, 1, 0, 0, 0) . pack('n', 0xc000 | $to) . pack('n2', 1, 1), 'FORMERR', "the question's name is a pointer to $to");
	my $r = Dns::parse(Dns::udp($d, pack('n6', 1, 0x100, 1, 1, 0, 0) . substr($query, 12) . pack('n n n N n', 0xc000 | $to, 1, 1, 0, 0), 3));
	is $r->{status}, 'NOERROR', "... behind the question nobody follows one to $to";
}
refused(pack('n6', 1, 0x100, 1, 0, 0, 0) . ("\1a" x 600), 'FORMERR', 'a name without end');

# ---- TCP

my $s = Dns::socket_tcp($d);
print $s join '', map { Dns::tcp_frame(Dns::query('web.service.consul', 'A', id => $_)) } 1 .. 300;
my %ids;
while (keys %ids < 300) {
	my $r = Dns::parse(Dns::tcp_read($s)) or last;
	$ids{$r->{id}}++;
}
is keys %ids, 300, '300 questions in one write are answered';
my $frame = Dns::tcp_frame(Dns::query('web.service.consul', 'SRV', id => 9));
for (split //, $frame) {
	syswrite $s, $_;
	sleep 0.002;
}
is Dns::parse(Dns::tcp_read($s))->{id}, 9, 'a question byte by byte';
# The first waits for raftd, the second does not.
kill STOP => $d->{raftd_pid};
print $s Dns::tcp_frame(Dns::query('slow.service.consul', 'A', id => 1)), Dns::tcp_frame(Dns::query('web.service.consul', 'A', id => 2));
is Dns::parse(Dns::tcp_read($s))->{id}, 2, 'answers come in any order';
kill CONT => $d->{raftd_pid};
is Dns::parse(Dns::tcp_read($s))->{id}, 1, '... and none is forgotten';
shutdown $s, 1;
is Dns::tcp_read($s, 3), undef, 'an end is answered by an end';

$s = Dns::socket_tcp($d);
print $s Dns::tcp_frame(Dns::query('many.service.consul', 'A'));
my $big = Dns::parse(Dns::tcp_read($s));
is @{$big->{answer}}, 2000, '2000 answers';
print $s Dns::tcp_frame(Dns::query('web.service.consul', 'A'));
shutdown $s, 1;
is Dns::parse(Dns::tcp_read($s))->{status}, 'NOERROR', 'a question before the end is answered';

for my $garbage (["\0\0", 'an empty message'], ["\0\5hello", 'less than a header'], [Dns::tcp_frame(put($query, 2, "\x81")), 'a response']) {
	$s = Dns::socket_tcp($d);
	print $s $garbage->[0];
	my $t = time;
	is Dns::tcp_read($s, 5), undef, "$garbage->[1] closes the connection";
	cmp_ok time - $t, '<', 4, '... at once';
}

# A client that asks much and reads nothing.
$s = Dns::socket_tcp($d);
$s->blocking(0);
my $written = 0;
my $flood = Dns::tcp_frame(Dns::query('many.service.consul', 'A')) x 100;
for (1 .. 200) {
	$written += syswrite($s, $flood) // 0;
}
ok alive(), 'a client that reads nothing holds up nobody';
close $s;

# More connections than there is room for: the ones idle for longest go.
my @conns = map { Dns::socket_tcp($d) } 1 .. 560;
is scalar(grep { defined } @conns), 560, '560 connections are taken';
print {$conns[-1]} Dns::tcp_frame($query);
is Dns::parse(Dns::tcp_read($conns[-1]))->{status}, 'NOERROR', 'the newest is served';
is Dns::tcp_read($conns[0], 10), undef, 'the one idle for longest was closed';
cmp_ok $d->info->{tcp_connections}, '<=', 512, 'no more than 512 are kept';
@conns = ();
$s = Dns::socket_tcp($d);
syswrite $s, "\0";
my $t = time;
is Dns::tcp_read($s, 20), undef, 'one that sends half a question is closed';
cmp_ok time - $t, '>', 8, '... after some patience';
ok alive(), 'it is well';
is $d->stop('TERM'), 0, 'and ends well';

# ---- bound to every address

my $all = Dnsd->new({ services => { web => [Dnsd::entry('web', 'n1', '10.0.0.1')] } }, {}, listen => '0.0.0.0');
for my $ip ('127.0.0.1', '127.1.2.3') {
	local $all->{ip} = $ip;
	is +(Dns::ask($all, 'web.service.consul', 'A') // { status => 'none' })->{status}, 'NOERROR', "asked at $ip, it answers from there";
}
my $late = IO::Socket::INET->new(PeerAddr => '127.1.2.4', PeerPort => $all->{ports}{dns}, Proto => 'udp');
kill STOP => $all->{raftd_pid};
$late->send(Dns::query('slow.service.consul', 'A'));
sleep 0.1;
kill CONT => $all->{raftd_pid};
ok(IO::Select->new($late)->can_read(5), '... also later');
done_testing;
