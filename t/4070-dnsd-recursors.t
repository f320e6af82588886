#!/usr/bin/perl
# Names that are not ours: to the recursors and back, over UDP and TCP, with
# recursors that are slow, wrong, hostile or away.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Test::More;
use Time::HiRes qw(sleep time);
use Dns;
use Dnsd;
use Recursor;

my %table = (
	'host.example' => { A => ['192.0.2.1', '192.0.2.2'], AAAA => ['2001:db8::1'], TXT => 'hello' },
	'www.example' => { CNAME => 'host.example' },
	'9.2.0.192.in-addr.arpa' => { PTR => 'host.example' },
	map({ ("mode-$_.example" => { A => ['192.0.2.7'], mode => $_ }) }
		qw(silent wrong_id wrong_question wrong_case forged tc tc_inside lie empty short close half trickle)),
	map({ ("rcode-$_.example" => { rcode => $_ }) } 1, 2, 3, 4, 5),
	'late.example' => { A => ['192.0.2.8'], delay => 0.5 },
	'many.example' => { fill => 60 }, 'huge.example' => { fill => 2000 },
);
my $r1 = Recursor->new(\%table);
my $r2 = Recursor->new({ '*' => { A => ['198.51.100.2'] } });
my $d = Dnsd->new({ services => { web => [Dnsd::entry('web', 'n1', '10.0.0.1')] } },
	{ recursors => [$r1->{address}, $r2->{address}], dns_config => { recursor_timeout => 700, workers => 1 } });
my $only1 = sub { $d->reload({ recursors => [$r1->{address}] }) };
my $both = sub { $d->reload({ recursors => [$r1->{address}, $r2->{address}] }) };

# The packet's answer by TCP.
sub tcp
{
	my (@query) = @_;
	my $s = Dns::socket_tcp($d);

	syswrite $s, Dns::tcp_frame(Dns::query(@query));
	return Dns::parse(Dns::tcp_read($s, 20)) // { status => 'none', answer => [] };
}

sub udp { my (@query) = @_; return Dns::parse(Dns::udp($d, Dns::query(@query), 20)) // { status => 'none', answer => [] }; }

# ---- nobody listens there

(my $nobody = $r1->{address}) =~ s/:\d+$/:1/;
$d->reload({ recursors => [$nobody] });
is udp('refused.example', 'A')->{status}, 'SERVFAIL', 'a recursor that is not there';
ok $d->wait_for(sub { $d->log =~ /recursor failed: recursor=\Q$nobody\E error="Connection refused"/ }), '... is told with the reason';
$d->reload({ recursors => [$r1->{address}, $r2->{address}], dns_config => { recursor_timeout => 700, workers => 1 } });

# ---- what goes through

my $r = udp('host.example', 'A', id => 4711);
is $r->{status}, 'NOERROR', 'a name that is not ours';
is $r->{id}, 4711, '... under the id of the question';
is_deeply $r->{answer}, ['host.example. 60 A 192.0.2.1', 'host.example. 60 A 192.0.2.2'], '... answered as the recursor does';
is_deeply [sort keys %{$r->{flags}}], [qw(qr ra rd)], '... with its flags, no AA';
is tcp('host.example', 'A')->{answer}[0], 'host.example. 60 A 192.0.2.1', 'by TCP';
is_deeply [map { $_->{proto} } $r1->log('host.example')], [qw(udp tcp)], '... as the client asks, so is the recursor asked';
is_deeply udp('www.example', 'A')->{answer}, ['www.example. 60 CNAME host.example.', 'host.example. 60 A 192.0.2.1',
	'host.example. 60 A 192.0.2.2'], 'a CNAME and what it leads to';
is udp('host.example', 'TXT')->{answer}[0], 'host.example. 60 TXT ' . unpack('H*', "\5hello"), 'any type';
is udp('nobody.example', 'A')->{status}, 'NXDOMAIN', 'a name that does not exist';
is scalar($r2->log), 0, '... which is final';
is udp('9.2.0.192.in-addr.arpa', 'PTR')->{answer}[0], '9.2.0.192.in-addr.arpa. 60 PTR host.example.', 'a reverse name that nobody here has';
is udp('HoSt.eXample', 'A')->{answer}[0], 'HoSt.eXample. 60 A 192.0.2.1', 'the case of the question is kept';
is +($r1->log('host.example'))[-1]{name}, 'HoSt.eXample.', '... upstream, too';
$r = udp('host.example', 'A', flags => 0);
ok !$r->{flags}{rd}, 'who does not ask for recursion is told so';
is +($r1->log('host.example'))[-1]{flags} & 0x100, 0x100, '... but a recursor is always asked to recurse';
$r = udp('host.example', 'A', edns => 1232);
is $r->{udp}, 1232, 'EDNS goes through';
is +($r1->log('host.example'))[-1]{size}, 1232, '... with the size of the client';
$r = udp('web.service.consul', 'A');
is $r->{answer}[0], 'web.service.consul. 0 A 10.0.0.1', 'our names are ours';
ok $r->{flags}{aa} && $r->{flags}{ra}, '... with AA, and RA since there are recursors';
is scalar(grep { /consul/ } map { $_->{name} } $r1->log), 0, '... and no recursor hears of them';

# ---- ids and ports

udp("random$_.example", 'A', id => 7) for 1 .. 40;
my (%ids, %ports);
$ids{$_->{id}}++, $ports{$_->{port}}++ for grep { $_->{name} =~ /^random/ } $r1->log;
cmp_ok scalar(keys %ids), '>', 35, 'ids upstream are random';
cmp_ok scalar(keys %ports), '>', 35, '... and so are the ports';

# ---- sizes

$r = udp('many.example', 'A');
ok $r->{flags}{tc}, 'an answer that is too long for the client is cut';
is @{$r->{answer}}, 0, '... to nothing';
is @{udp('many.example', 'A', edns => 4096)->{answer}}, 60, 'with room for it it is whole';
is @{tcp('huge.example', 'A')->{answer}}, 2000, 'an answer of 64 KB by TCP';
ok udp('mode-tc.example', 'A')->{flags}{tc}, 'what the recursor has cut is told to be cut';
is tcp('mode-tc.example', 'A')->{answer}[0], 'mode-tc.example. 60 A 192.0.2.7', '... and whole by TCP';
$r = udp('mode-tc_inside.example', 'A');
ok $r->{flags}{tc} && !@{$r->{answer}}, 'cut in the middle of a record: cut';

# ---- the next one is tried

is udp("rcode-$_.example", 'A')->{answer}[0], "rcode-$_.example. 60 A 198.51.100.2", "rcode $_ of the first lets the second answer" for 1, 2, 4, 5;
is udp('rcode-3.example', 'A')->{status}, 'NXDOMAIN', 'NXDOMAIN does not';
for my $mode (qw(silent wrong_id wrong_question lie empty short)) {
	is udp("mode-$mode.example", 'A')->{answer}[0], "mode-$mode.example. 60 A 198.51.100.2", "$mode: the second is asked";
}
is udp('MODE-wrong_case.example', 'A')->{answer}[0], 'MODE-wrong_case.example. 60 A 198.51.100.2', 'another case is another question';
is udp('mode-wrong_case.example', 'A')->{answer}[0], 'mode-wrong_case.example. 60 A 192.0.2.7', '... the same is not';
is tcp("mode-$_.example", 'A')->{answer}[0], "mode-$_.example. 60 A 198.51.100.2", "TCP, $_: the second is asked"
	for qw(silent wrong_id wrong_question lie empty short close half);
is tcp('mode-trickle.example', 'A')->{answer}[0], 'mode-trickle.example. 60 A 192.0.2.7', 'TCP, byte by byte';
is udp('mode-forged.example', 'A')->{answer}[0], 'mode-forged.example. 60 A 192.0.2.7', 'forged answers before the right one are passed over';
is udp('late.example', 'A')->{answer}[0], 'late.example. 60 A 192.0.2.8', 'one that is late, but in time';

# ---- all fail

$only1->();
my $t = time;
$r = udp('mode-silent.example', 'A', id => 99);
is $r->{status}, 'SERVFAIL', 'nobody answers';
is $r->{id}, 99, '... the client is told under its id';
ok $r->{flags}{ra} && !$r->{flags}{aa}, '... with RA, without AA';
cmp_ok time - $t, '>', 0.6, '... after recursor_timeout';
is udp('rcode-2.example', 'A')->{status}, 'SERVFAIL', 'SERVFAIL of the only one';
is udp('rcode-5.example', 'A')->{status}, 'SERVFAIL', 'REFUSED of the only one';
is tcp('mode-close.example', 'A')->{status}, 'SERVFAIL', 'the only one hangs up';

# ---- equal questions are asked once

my @socks = map { Dns::socket_udp($d) } 1 .. 5;
my $before = () = $r1->log('late.example');
$socks[$_]->send(Dns::query('late.example', 'A', id => 100 + $_)) for 0 .. $#socks;
my @got = map { Dns::parse(Dns::udp($d, '', 20, $socks[$_])) } 0 .. $#socks;
is_deeply [map { $_->{id} } @got], [100 .. 104], 'five ask the same at once, each is answered under its id';
is +(() = $r1->log('late.example')) - $before, 1, '... by one question upstream';

# A recursor that asks us again: the second time around waits for the first, and ends with it.
$r1->set({ %table, 'circle.example' => { ask => "$d->{ip}:$d->{ports}{dns}" } });
is udp('circle.example', 'A')->{status}, 'SERVFAIL', 'a circle ends';
cmp_ok scalar(() = $r1->log('circle.example')), '<=', 2, '... at once';

# ---- connections that go

my $silent = () = $r1->log('mode-silent.example');
my $s = Dns::socket_tcp($d);
syswrite $s, Dns::tcp_frame(Dns::query('mode-silent.example', 'A'));
ok $d->wait_for(sub { scalar(() = $r1->log('mode-silent.example')) > $silent }), 'a question is on its way';
close $s;
$s = Dns::socket_tcp($d);
syswrite $s, Dns::tcp_frame(Dns::query('late.example', 'A', id => 1)) . Dns::tcp_frame(Dns::query('host.example', 'A', id => 2));
is Dns::parse(Dns::tcp_read($s, 20))->{id}, 2, 'relayed answers come in any order';
shutdown $s, 1;
is Dns::parse(Dns::tcp_read($s, 20))->{id}, 1, '... also to a client that has closed its half';
is Dns::tcp_read($s, 20), undef, '... and then the end';

# ---- reload: none, others, the order

$d->reload({ recursors => [] });
$r = udp('host.example', 'A');
is $r->{status}, 'REFUSED', 'without recursors names that are not ours are refused';
ok !$r->{flags}{ra}, '... without RA';
ok !udp('web.service.consul', 'A')->{flags}{ra}, '... so are answers about our own';
is udp('9.2.0.192.in-addr.arpa', 'PTR')->{status}, 'SERVFAIL', '... a reverse name fails';
$d->reload({ recursors => [$r2->{address}, $r1->{address}] });
is udp('host.example', 'A')->{answer}[0], 'host.example. 60 A 198.51.100.2', 'reload takes another order';
$r1->set({ '*' => { A => ['192.0.2.99'] } });
$d->reload({ dns_config => { recursor_strategy => 'random', recursor_timeout => 700 } });
my %who;
$who{udp("strategy$_.example", 'A')->{answer}[0] =~ /198/ ? 'second' : 'first'}++ for 1 .. 40;
is_deeply [sort keys %who], [qw(first second)], 'strategy random asks now this one, now that one';
$r2->stop;
is udp("gone$_.example", 'A')->{status}, 'NOERROR', "one of them is away ($_)" for 1 .. 4;
$r1->stop;
is udp('gone.example', 'A')->{status}, 'SERVFAIL', 'both are away';
$r1->start;
is udp('back.example', 'A')->{status}, 'NOERROR', 'one is back';

# ---- a flood

my $sock = Dns::socket_udp($d);
$r1->set({ '*' => { mode => 'silent' } });
$sock->send(Dns::query("flood$_.example", 'A', id => $_ & 0xffff)) for 1 .. 6000;
is udp('web.service.consul', 'A')->{status}, 'NOERROR', 'a flood of questions that nobody answers holds up no other';
ok $d->wait_for(sub { $d->info->{questions_waiting} == 0 }), '... and all of them end';
SKIP: {
	skip 'prlimit is not installed', 3 if !grep { -x "$_/prlimit" } qw(/usr/bin /bin);
	$d->reload({ dns_config => { recursor_timeout => 3000, workers => 1 } });
	is +(Node::_run({}, 'prlimit', '--pid', $d->{pid}, '--nofile=200:200'))[0], 0, 'with 200 descriptors';
	$sock->send(Dns::query("more$_.example", 'A', id => $_)) for 1 .. 1000;
	my @tcp = map { Dns::socket_tcp($d) } 1 .. 20;
	is scalar(grep { defined syswrite($_, Dns::tcp_frame(Dns::query('web.service.consul', 'A'))) && (Dns::parse(Dns::tcp_read($_, 20)) // {})->{status} eq 'NOERROR' }
		@tcp), 20, '... a flood leaves enough for 20 connections';
	ok $d->wait_for(sub { $d->info->{questions_waiting} == 0 }), '... and ends';
}
is $d->stop('TERM'), 0, 'it ends well';
done_testing;
