#!/usr/bin/perl
# Host names in the place of addresses: CNAME and where it leads, through our
# own names and through recursors; TTLs, bounds, circles, recursors that fail.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Test::More;
use Time::HiRes qw(sleep time);
use Dns;
use Dnsd;
use Recursor;

my $rec = Recursor->new({
	'host.example' => { A => ['192.0.2.1', '192.0.2.2'], AAAA => ['2001:db8::1'], ttl => 300 },
	'www.example' => { CNAME => 'host.example', ttl => 300 }, 'short.example' => { A => ['192.0.2.9'], ttl => 0 },
	'many.example' => { fill => 9, ttl => 300 }, 'loop.example' => { CNAME => 'loop.example' },
	'slow.example' => { A => ['192.0.2.3'], delay => 1, ttl => 300 }, 'silent.example' => { mode => 'silent' }, 'fail.example' => { rcode => 2 },
});
sub at { my ($service, $address, $more) = @_; return Dnsd::entry($service, 'n1', '10.0.0.1', { Address => $address, Port => 80, %{$more // {}} }) }
my %services = (map({ my ($s) = split /\./; ($s => [at($s, "$_.example")]) } qw(host www short many loop slow silent fail nobody)),
	upper => [at('upper', 'HOST.Example')], mixed => [at('mixed', 'host.example'), Dnsd::entry('mixed', 'n2', '10.0.0.2')],
	two => [at('two', 'www.example', { Port => 1 }), at('two', 'host.example', { Port => 2 })],
	web => [map { Dnsd::entry('web', "n$_", "10.0.0.$_") } 1 .. 7], in => [at('in', 'web.service.consul')],
	inn => [at('inn', 'n1.node.consul')], addr => [at('addr', '0a000063.addr.dc1.consul')], gone => [at('gone', 'nope.service.consul')],
	a => [at('a', 'b.service.consul')], b => [at('b', 'c.service.consul')], c => [at('c', 'n1.node.consul')],
	round => [at('round', 'about.service.consul')], about => [at('about', 'round.service.consul')],
	inq => [at('inq', 'q.query.consul')], inext => [at('inext', 'host.service.consul')]);
my %data = (services => \%services, addresses => {}, nodes => { n1 => { Node => 'n1', Address => '10.0.0.1' },
	named => { Node => 'named', Address => 'host.example', Meta => { k => 'v' } } },
	queries => { q => { Service => 'web', Datacenter => 'dc1', Ranks => [0], Nodes => [Dnsd::entry('web', 'n5', '10.0.0.5')] } });
my $d = Dnsd->new(\%data, { recursors => [$rec->{address}], dns_config => { service_ttl => { '*' => 20000 }, recursor_timeout => 1500 } });
sub ask { my ($name, $type, %o) = @_; return Dns::parse(Dns::udp($d, Dns::query("$name.service.consul", $type // 'A', %o), 20)) // { status => 'none', answer => [] } }
sub svc { my ($name, $type, %o) = @_; return ask($name, $type, %o)->{answer} }

# ---- foreign names

is_deeply svc('host'), ['host.service.consul. 20 CNAME host.example.', 'host.example. 20 A 192.0.2.1', 'host.example. 20 A 192.0.2.2'],
	'CNAME and the addresses, under the TTL of the service';
is_deeply svc('host', 'AAAA'), ['host.service.consul. 20 CNAME host.example.', 'host.example. 20 AAAA 20010db8000000000000000000000001'], 'AAAA';
is_deeply svc('www'), ['www.service.consul. 20 CNAME www.example.', 'www.example. 20 CNAME host.example.', 'host.example. 20 A 192.0.2.1',
	'host.example. 20 A 192.0.2.2'], 'a CNAME of theirs, too';
is svc('upper')->[0], 'upper.service.consul. 20 CNAME HOST.Example.', 'spelled as it was registered';
is scalar(@{svc('upper')}), 3, '... and found';
is_deeply svc('mixed'), ['mixed.service.consul. 20 A 10.0.0.2'], 'an address goes before a name';
is scalar(@{svc('many')}), 6, 'five more at most';
is scalar(@{svc('many', 'A', edns => 4096)}), 10, '... but for clients with EDNS';
is_deeply svc('nobody'), ['nobody.service.consul. 20 CNAME nobody.example.'], 'a name that they do not have: the CNAME alone';
is_deeply svc($_), ["$_.service.consul. 20 CNAME $_.example."], "... $_" for qw(fail loop);
is scalar(@{svc('slow')}), 2, 'a slow recursor is waited for';
my $t = time;
is_deeply svc('silent'), ['silent.service.consul. 20 CNAME silent.example.'], 'one that does not answer takes its time';
cmp_ok time - $t, '<', $ENV{TEST_TIMEOUT} // 15, '... and no more';
my $r = ask('two', 'SRV');
is_deeply [sort @{$r->{answer}}], ['two.service.consul. 20 SRV 1 1 1 www.example.', 'two.service.consul. 20 SRV 1 1 2 host.example.'], 'SRV: the names';
is_deeply [sort @{$r->{additional}}], [map({ "host.example. 20 A 192.0.2.$_" } 1, 1, 2, 2), 'www.example. 20 CNAME host.example.'],
	'... and their addresses' or diag explain $r;
$r = Dns::ask($d, 'named.node.consul', 'A');
is_deeply $r->{answer}, ['named.node.consul. 0 CNAME host.example.', map { "host.example. 0 A 192.0.2.$_" } 1, 2], 'a node with a host name';
is scalar(@{$r->{additional}}), 1, '... and its metadata behind that';

# ---- how long they are believed

my $asked = $rec->log('host.example');
svc('host') for 1 .. 5;
is scalar($rec->log('host.example')), $asked, 'what is believed is not asked for again';
my $before = $rec->log('short.example');
svc('short');
ok $d->wait_for(sub { svc('short'); $rec->log('short.example') > $before + 1 }, 10), 'a TTL of 0: asked for anew';
is_deeply svc('short'), ['short.service.consul. 20 CNAME short.example.', 'short.example. 20 A 192.0.2.9'], '... a second later';
$rec->stop;
sleep 1.2;
is scalar(@{svc('short')}), 2, 'without recursors what was known goes on';
is scalar(@{svc('host')}), 3, '... and what is believed anyway';
$rec->start;

# ---- names of ours

$r = ask('in');
is $r->{answer}[0], 'in.service.consul. 20 CNAME web.service.consul.', 'a name of ours';
is scalar(@{$r->{answer}}), 6, '... with five addresses';
is scalar(@{svc('in', 'A', edns => 4096)}), 8, '... or all with EDNS';
my %seen;
$seen{svc('in')->[1]}++ for 1 .. 40;
cmp_ok scalar(keys %seen), '>', 2, '... in a random order';
is_deeply svc('inn'), ['inn.service.consul. 20 CNAME n1.node.consul.', 'n1.node.consul. 20 A 10.0.0.1'], 'a node';
is_deeply svc('inq'), ['inq.service.consul. 20 CNAME q.query.consul.', 'q.query.consul. 20 A 10.0.0.5'], 'a prepared query';
is_deeply svc('addr'), ['addr.service.consul. 20 CNAME 0a000063.addr.dc1.consul.', '0a000063.addr.dc1.consul. 20 A 10.0.0.99'], 'an address';
is_deeply svc('addr', 'AAAA'), ['addr.service.consul. 20 CNAME 0a000063.addr.dc1.consul.'], '... of another family';
is_deeply svc('gone'), ['gone.service.consul. 20 CNAME nope.service.consul.'], 'one that is not there';
is_deeply svc('a'), ['a.service.consul. 20 CNAME b.service.consul.', 'b.service.consul. 20 CNAME c.service.consul.',
	'c.service.consul. 20 CNAME n1.node.consul.', 'n1.node.consul. 20 A 10.0.0.1'], 'three names deep';
is_deeply svc('inext'), ['inext.service.consul. 20 CNAME host.service.consul.', 'host.service.consul. 20 CNAME host.example.',
	'host.example. 20 A 192.0.2.1', 'host.example. 20 A 192.0.2.2'], 'from ours to theirs';
is ask('round')->{status}, 'NOERROR', 'a circle ends';
cmp_ok scalar(@{svc('round')}), '<=', 5, '... soon';
$services{web} = [Dnsd::entry('web', 'n8', '10.0.0.8')];
$d->data(\%data);
ok $d->wait_for(sub { (svc('in')->[1] // '') eq 'web.service.consul. 20 A 10.0.0.8' }, 10), 'a change behind a name is told';

# ---- without recursors

$d->reload({ recursors => [] });
is_deeply svc('host'), ['host.service.consul. 20 CNAME host.example.'], 'without recursors the CNAME is all there is';
is scalar(@{svc('inn')}), 2, '... of foreign names';
$d->reload({ recursors => [$rec->{address}] });
is scalar(@{svc('host')}), 3, 'a reload brings them back';
done_testing;
