#!/usr/bin/perl
# Names that need many steps or have many spellings, and what may not be told
# any more: bounds on memory, and answers of another token.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Test::More;
use Time::HiRes qw(sleep time);
use Dns;
use Dnsd;
use Recursor;

my $slow = $ENV{TEST_TIMEOUT} // 30;
my $hosts = 40;
my $rec = Recursor->new({ map({ ("h$_.example" => { A => ["192.0.2.$_"], delay => 0.01 * $_, ttl => 300 }) } 1 .. $hosts),
	map({ ("silent$_.example" => { mode => 'silent' }) } 1, 2), 'short.example' => { A => ['192.0.2.77'], ttl => 0 }, 'big.example' => { A => ['192.0.2.99'] } });
my %tagged = (Tags => ['a', 'b'], Port => 80);
my $near = { Service => 'web', Datacenter => 'dc1', PerClient => JSON::PP::true(), Ranks => [0, 0],
	Nodes => [map { Dnsd::entry('web', "n$_", "10.0.0.$_") } 1, 2] };
my %data = (nodes => {}, addresses => {}, queries => { near => $near }, services => {
	many => [map { Dnsd::entry('many', 'n1', '10.0.0.1', { Address => "h$_.example", Port => $_ }) } 1 .. $hosts],
	two => [map { Dnsd::entry('two', 'n1', '10.0.0.1', { Address => "silent$_.example", Port => $_ }) } 1, 2],
	short => [Dnsd::entry('short', 'n1', '10.0.0.1', { Address => 'short.example' })],
	web => [Dnsd::entry('web', 'n1', '10.0.0.1', \%tagged)],
	map({ my $s = $_; ($s => [map { Dnsd::entry($s, "n$_", sprintf('10.0.%d.%d', $_ / 250, $_ % 250), \%tagged) } 1 .. 2000]) } qw(x)) });
my $d = Dnsd->new(\%data, { recursors => [$rec->{address}], dns_config => { workers => 1, recursor_timeout => 3000 } });
sub ask { my ($name, $type, %o) = @_; return Dns::parse(Dns::udp($d, Dns::query($name, $type, %o), $slow)) // { status => 'none', answer => [] } }

# ---- many steps

my $r = ask('many.service.consul', 'SRV', edns => 4096);
is $r->{status}, 'NOERROR', 'a service of many host names, which recursors tell one after the other';
is scalar(@{$r->{answer}}), $hosts, '... is told whole' or diag explain $r;
is scalar(grep { / A 192\.0\.2\.\d+$/ } @{$r->{additional}}), $hosts, '... with all addresses';

# ---- recursors that are away

is scalar(@{ask('short.service.consul', 'A')->{answer}}), 2, 'a host name with a short TTL';
$rec->set({ 'short.example' => { mode => 'silent' }, 'big.example' => { A => ['192.0.2.99'] } });
ok $d->wait_for(sub { ask('short.service.consul', 'A'); $rec->log('short.example') >= 2 }, $slow), 'its TTL over, recursors are asked';
is scalar(@{ask('short.service.consul', 'A')->{answer}}), 2, 'is told on when recursors are away';
my $tried = $rec->log('short.example');
cmp_ok $tried, '>=', 2, '... after they were asked';
sleep 1.2;
is scalar(@{ask('short.service.consul', 'A')->{answer}}), 2, '... and again';
is scalar($rec->log('short.example')), $tried, '... who are not waited for each time';

# ---- many spellings

sub spelled { my ($i, $n) = @_; return join '.', map { $i >> $_ & 1 ? 'a' : 'b' } 0 .. $n - 1 }
is ask(spelled(5, 12) . '.web.service.consul', 'A')->{status}, 'NOERROR', 'tags in any order, over and over';
sub flood { my ($service, $n) = @_; ask(spelled($_, 12) . ".$service.service.consul", 'A') for 1 .. $n }
flood('web', 400);
my $one = $d->info->{answers_ready};
cmp_ok $one, '<=', 256 + 8, 'the answers that are kept of one service have a bound';
cmp_ok $one, '>=', 256, '... which they reach';
flood('x', 160);
cmp_ok $d->info->{answers_ready}, '<', $one + 140, 'fewer are kept of one with many instances';
is ask('a.web.service.consul', 'A')->{status}, 'NOERROR', 'which nobody notices';

# ---- long questions

my $long = Dns::query('big.example', 'A', edns => 1232, options => { 65001 => 'x' x 60000 });
my $s = Dns::socket_tcp($d);
syswrite $s, Dns::tcp_frame($long);
is +(Dns::parse(Dns::tcp_read($s, $slow)) // {})->{status}, 'SERVFAIL', 'a question of 60 kB is not handed on';
is scalar($rec->log('big.example')), 0, '... to nobody';
syswrite $s, Dns::tcp_frame(Dns::query('big.example', 'A', edns => 1232, options => { 65001 => 'x' x 3000 }));
is +(Dns::parse(Dns::tcp_read($s, $slow)) // {})->{status}, 'NOERROR', 'one of 3 kB is';

# ---- numbers

sub counted { return [grep { $_->{Name} =~ /^dns\.domain_query;/ } @{($d->ask('daemon.metrics'))[1]}]->[0]{TotalCount} // 0 }
my $before = counted();
for (1 .. 20) {
	syswrite $s, Dns::tcp_frame(Dns::query('web.service.consul', 'A'));
	Dns::tcp_read($s, $slow);
}
is counted() - $before, 20, 'questions by TCP are counted';

# ---- all places taken by names that are waited for

ask('two.service.consul', 'AAAA');
kill STOP => $d->{raftd_pid};
my $udp = Dns::socket_udp($d);
for my $i (1 .. 1023) {
	syswrite $udp, Dns::query("random$i.service.consul", 'A', id => $i);
	sleep 0.005 if $i % 100 == 0;
}
note 'waiting: ', $d->info->{questions_waiting};
$r = ask('two.service.consul', 'SRV', edns => 1232);
like $r->{status}, qr/^(NOERROR|SERVFAIL)$/, 'a name that needs two places more is answered';
kill CONT => $d->{raftd_pid};
ok $d->wait_for(sub { $d->info->{questions_waiting} == 0 }, $slow), 'nothing waits for ever';
ok $d->wait_for(sub { ask('web.service.consul', 'A')->{status} eq 'NOERROR' }, $slow), 'and it goes on';

# ---- the order for each client, while raftd does not tell it

is ask('near.query.consul', 'A')->{status}, 'NOERROR', 'a query whose order depends on the client';
kill STOP => $d->{raftd_pid};
$udp = Dns::socket_udp($d);
for my $i (1 .. 100) {
	syswrite $udp, Dns::query('near.query.consul', 'A', id => $i, edns => 1232, options => { 8 => pack 'n C2 C4', 1, 32, 0, 10, 0, 0, $i });
	sleep 0.003;
}
my %got;
for (1 .. 100) {
	local $SIG{ALRM} = sub { die "no answer\n" };
	alarm 2 * $slow;
	sysread $udp, my $p, 4096;
	$got{Dns::parse($p)->{status}}++;
}
alarm 0;
kill CONT => $d->{raftd_pid};
is_deeply \%got, { NOERROR => 100 }, '... has the order of nobody, whatever gives up first';

# ---- another token, while nobody can tell what it may see

is ask('web.service.consul', 'SRV')->{status}, 'NOERROR', 'a name that is known';
$d->kill_raftd;
is ask('web.service.consul', 'SRV')->{status}, 'NOERROR', '... also without raftd';
$d->reload({ acl => { tokens => { dns => 'another' } } });
is ask('web.service.consul', 'SRV')->{status}, 'SERVFAIL', 'is not told to another token' for 1 .. 3;
is ask('web.service.consul', 'A')->{status}, 'SERVFAIL', '... by any type';
$d->raftd;
ok $d->wait_for(sub { ask('web.service.consul', 'SRV')->{status} eq 'NOERROR' }, $slow), '... before raftd has been asked';
done_testing;
