#!/usr/bin/perl
# Floods and lies to the DNS server of a whole node: names without end, TCP clients that dawdle, lie or never read.
use strict;
use warnings;
use Test::More;
use Time::HiRes qw(sleep time);
use lib "$ENV{SRCDIR}/t/lib";
use Dns;
use Frame;
use Node;

$SIG{PIPE} = 'IGNORE';
my $n = Node->new(config => { log_level => 'info', services => [{ name => 'web', port => 80 }] });
$n->wait_for(sub { $n->dig('web.service.consul', '+short') eq "$n->{ip}\n" });
my %pids = $n->pids;

sub alive { return @{(Dns::ask($n, 'web.service.consul', 'A') // { answer => [] })->{answer}} == 1 }
sub info { return (Frame::Client->new("$n->{data_dir}/run/$_[0].sock")->ask('daemon.info'))[1] }
sub dnsd { return info('dnsd')->{dnsd} }
sub rss { my ($kb) = Node::_slurp("/proc/$pids{$_[0]}/status") =~ /^VmRSS:\s+(\d+)/m; return $kb / 1024 }

ok alive(), 'a warm name';

# ---- 10,000 names that nobody has, and as many of every other kind

my $s = Dns::socket_udp($n);
my ($asked, $answered, %status) = (0, 0);
sub drain
{
	while (IO::Select->new($s)->can_read($_[0] // 0)) {
		$s->recv(my $p, 65535);
		my $r = Dns::parse($p);
		$status{$r->{status}}++;
		$answered++;
	}
}
sub flood
{
	my ($name, $type) = @_;

	$s->send(Dns::query($name, $type, id => $asked++ & 0xffff));
	drain(0) if $asked % 10 == 0;
	drain(0.2) if $asked - $answered > 200;
}
flood("x$_.service.consul", 'A') for 1 .. 1000;
drain(1);
my $was = rss('dnsd');
flood("no$_.service.consul", 'A') for 1 .. 10000;
flood("no$_.node.consul", 'A') for 1 .. 2000;
flood("tag$_.web.service.consul", 'SRV') for 1 .. 5000;
flood("_web._t$_.service.consul", 'SRV') for 1 .. 2000;
flood("a$_.b$_.c$_.consul", 'A') for 1 .. 1000;
flood("w$_.service.other$_.consul", 'A') for 1 .. 1000;
drain(2);
cmp_ok $answered, '>', $asked * 0.9, "$answered of $asked questions were answered (" . join(' ', map { "$_ $status{$_}" } sort keys %status) . ')';
my $d = dnsd();
my $views = 0;
$views += $d->{$_} for grep { /views/ && $d->{$_} =~ /^\d+$/ } keys %$d;
cmp_ok $views, '<', 3000, "views of names that are not there are few ($views)";
cmp_ok rss('dnsd') - $was, '<', 150, 'and take little memory';
cmp_ok info('raftd')->{state}{blocking_queries}, '<', 3000, 'raftd watches as few';
ok alive(), 'the warm name is answered';

# ---- cold names over one TCP connection, more than may wait at a time, and then silence

$s = Dns::socket_tcp($n);
print $s map { Dns::tcp_frame(Dns::query("cold$_.service.consul", 'A', id => $_)) } 1 .. 500;
$s->flush;
my %ids;
while (defined(my $p = Dns::tcp_read($s, 5))) {
	$ids{Dns::parse($p)->{id}}++;
	last if keys %ids == 500;
}
is scalar keys %ids, 500, '500 questions for unknown names in one write are answered, and none waits for another byte';
$s = Dns::socket_tcp($n);
print $s map { Dns::tcp_frame(Dns::query("colder$_.service.consul", 'A', id => $_)) } 1 .. 200;
$s->flush;
shutdown $s, 1;
%ids = ();
while (defined(my $p = Dns::tcp_read($s, 5))) { $ids{Dns::parse($p)->{id}}++ }
is scalar keys %ids, 200, 'also when they end with the stream';

# ---- lengths that lie

my $q = Dns::query('web.service.consul', 'A', id => 7);
for (['more than comes', pack('n', length($q) + 5) . $q, 1], ['less than comes', pack('n', length($q) - 3) . $q, 0], ['one', "\0\1x", 0],
	['eleven', "\0\x0b" . 'x' x 11, 0], ['sixty thousand of noise', pack('n', 60000) . join('', map { chr(($_ * 7919) & 255) } 1 .. 60000), 0]) {
	my ($what, $bytes, $half) = @$_;
	$s = Dns::socket_tcp($n);
	syswrite $s, $bytes;
	shutdown $s, 1;
	my $p = Dns::tcp_read($s, 10);
	ok !defined $p || Dns::parse($p)->{status} =~ /^(FORMERR|NOTIMP)$/, "a length of $what is no question";
	1 while defined Dns::tcp_read($s, 10);
}
ok alive(), 'it is well';

# ---- dawdlers: a byte now and then keeps nobody's place

my @slow = map { Dns::socket_tcp($n) } 1 .. 50;
my $t = time;
my $frame = Dns::tcp_frame($q);
my $gone = 0;
for my $i (0 .. 14) {
	syswrite $_, substr $frame, $i, 1 for grep { $_ } @slow;
	sleep 1;
	for (@slow) {
		next if !$_ || !IO::Select->new($_)->can_read(0);
		sysread $_, my $got, 10 and next;
		$_ = undef;
		$gone++;
	}
	last if $gone == 50;
}
is $gone, 50, sprintf 'a byte a second does not keep a connection (%.0f s)', time - $t;
ok alive(), 'nor is anybody held up';

# ---- one that asks and never reads, one that resets

$s = Dns::socket_tcp($n);
$s->blocking(0);
my $flood = Dns::tcp_frame(Dns::query('web.service.consul', 'ANY', id => 1)) x 500;
for (1 .. 300) {
	sleep 0.01 if !syswrite $s, $flood;
}
for (1 .. 50) {
	my $r = Dns::socket_tcp($n);
	syswrite $r, Dns::tcp_frame(Dns::query("reset$_.service.consul", 'A')) x 10;
	setsockopt $r, Socket::SOL_SOCKET(), Socket::SO_LINGER(), pack('ii', 1, 0);
	close $r;
}
ok alive(), 'one that never reads and fifty that reset';
close $s;

# ---- noise, and replies sent as if they were questions

srand($ENV{TEST_SEED} // 912);
$s = Dns::socket_udp($n);
for (1 .. 3000) {
	$s->send(join '', map { chr rand 256 } 0 .. rand 200);
}
$s->send(substr($q, 0, 2) . "\x85\x80" . substr $q, 4) for 1 .. 100;
my $own = Dns::udp($n, $q);
ok defined $own, 'noise is passed over';
$s->send($own) for 1 .. 100;
sleep 0.1;
my $loops = 0;
while (IO::Select->new($s)->can_read(0.1)) {
	$s->recv(my $p, 65535);
	$loops++ if $p eq $own;
}
is $loops, 0, 'answers are not answered';

# ---- afterwards

ok $n->wait_for(sub { dnsd()->{tcp_connections} == 0 }), 'connections are given back';
ok alive(), 'it answers';
is_deeply { $n->pids }, \%pids, 'no daemon has ended';
$n->stop;
is join("\n", grep { /Sanitizer|runtime error|work still open/ } split /\n/, $n->log_text . $n->err_text), '', 'a clean end';
done_testing;
