#!/usr/bin/perl
# Facts about Consul's DNS that no other test shows: listeners, zones, flags, host names that are addresses, reverse
# names, the zone's servers, metrics and the log. t/DNS-COVERAGE says which fact is where.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Test::More;
use Dns;
use Dnsd;
use Node;
use Recursor;

my ($true, $false) = (JSON::PP::true, JSON::PP::false);
sub sorted { my ($list) = @_; return [sort @$list] }

my $recursor = Recursor->new({
	'www.example.com' => { A => ['192.0.2.1'], ttl => 300 },
	'many.example.com' => { A => [map { "192.0.2.$_" } 1 .. 9], ttl => 300 },
	'alias.example.com' => { CNAME => 'www.example.com', ttl => 300 },
	'99.9.9.10.in-addr.arpa' => { PTR => 'far.example.com' },
});
my $second = Node::_address();
my $n = Node->new(dev => 1, name => 'Server-One', config => { domain => 'ConSul.Test', alt_domain => 'Alt.Test.', log_level => 'debug',
	recursors => [$recursor->{address}],
	dns_config => { service_ttl => { '*' => '7s' }, node_ttl => '9s', soa => { min_ttl => 30, refresh => 11, retry => 12, expire => 13 } } });

# ---- services for what follows

Dns::catalog($n, 'Node-A', '10.0.0.1', { Service => 'web', Port => 80, Tags => ['primary'] });
Dns::catalog($n, 'Node-B', '2001:db8::2', { Service => 'web', Port => 81 });
Dns::catalog($n, 'Node-C', '10.0.0.3', { Service => 'one', ID => 'one-a', Port => 82 });
Dns::catalog($n, 'Node-C', '10.0.0.3', { Service => 'one', ID => 'one-b', Port => 82 });
Dns::catalog($n, 'Node-C', '10.0.0.3', { Service => 'own', Port => 83, Address => '10.9.9.9' });
Dns::catalog($n, 'Node-D', '10.0.0.4', { Service => 'host', ID => "host$_", Port => 80 + $_, Address => $_ == 1 ? 'www.example.com' : 'other.example.com' })
	for 1, 2;
Dns::catalog($n, 'Node-D', '10.0.0.4', { Service => 'mixed', ID => 'mixed1', Port => 80, Address => 'www.example.com' });
Dns::catalog($n, 'Node-A', '10.0.0.1', { Service => 'mixed', ID => 'mixed2', Port => 80 });
Dns::catalog($n, 'Node-E', '10.0.0.5', { Service => 'chain', Port => 80, Address => 'alias.example.com' });
Dns::catalog($n, 'Node-E', '10.0.0.5', { Service => 'wide', Port => 80, Address => 'many.example.com' });
Dns::catalog($n, 'Node-E', '10.0.0.5', { Service => 'in1', Port => 80, Address => 'web.service.consul.test' });
Dns::catalog($n, 'Node-E', '10.0.0.5', { Service => "in$_", Port => 80, Address => 'in' . ($_ - 1) . '.service.consul.test' }) for 2 .. 5;
Dns::catalog($n, 'Node-E', '10.0.0.5', { Service => 'round', Port => 80, Address => 'trip.service.consul.test' });
Dns::catalog($n, 'Node-E', '10.0.0.5', { Service => 'trip', Port => 80, Address => 'round.service.consul.test' });
Dns::catalog($n, 'named', 'www.example.com', { Service => 'onname', Port => 80 });
Dns::catalog($n, 'under_score', '10.0.0.7', { Service => 'odd_name', Port => 80, Tags => ['a_tag'] });
Dns::catalog($n, 'metas', '10.0.0.8', undef, undef, NodeMeta => { 'key' => 'a=b`c', 'rfc1035-x' => 'raw=`1`', long => 'z' x 400 });

sub ask { return Dns::ask($n, @_) }
sub answer { my $r = ask(@_); return $r && sorted($r->{answer}) }

sub tcp
{
	my $s = Dns::socket_tcp($n);

	print $s Dns::tcp_frame(Dns::query(@_));
	return Dns::parse(Dns::tcp_read($s));
}

# ---- zones

my $r = ask('WEB.Service.cOnsul.tEst', 'A');
is_deeply $r->{answer}, ['WEB.Service.cOnsul.tEst. 7 A 10.0.0.1'], 'a domain written in mixed case is matched in any';
is_deeply answer('web.service.alt.test', 'A'), ['web.service.alt.test. 7 A 10.0.0.1'], 'and so is the other, written with its dot';
is ask('web.service.consul', 'A')->{status}, 'NXDOMAIN', 'consul. itself is no zone of ours then: the recursor says what it is';
is_deeply [sort keys %{ask('web.service.consul.test', 'A')->{flags}}], [qw(aa qr ra rd)], 'AA, and RA with recursors';
is_deeply [sort keys %{ask('www.example.com', 'A')->{flags}}], [qw(qr ra rd)], 'no AA for what others answer';
ok !ask('web.service.consul.test', 'A', flags => 0)->{flags}{rd}, 'RD is echoed, not made up';
is_deeply [sort keys %{ask('web.service.consul.test', 'A', flags => 0x0130)->{flags}}], [qw(aa qr ra rd)], 'neither AD nor CD comes back';
$r = Dns::dig($n, 'web.service.consul.test', '+dnssec');
unlike $r->{text}, qr/RRSIG|flags: do/, 'no DNSSEC, and OPT does not say so';
$r = ask('Nope.Service.consul.test', 'A');
like $r->{authority}[0], qr/^consul\.test\. 30 SOA /, 'the zone is told in lower case';

my $before = () = $recursor->log('www.example.com');
is ask('www.example.com', 'A')->{answer}[0], 'www.example.com. 300 A 192.0.2.1', 'what is not ours' for 1 .. 3;
is +(() = $recursor->log('www.example.com')) - $before, 3, 'what a recursor says is asked for each time, whatever its TTL';

# ---- services

is_deeply answer('web.service.consul.test', 'ANY'), ['web.service.consul.test. 7 A 10.0.0.1', 'web.service.consul.test. 7 AAAA ' . '20010db8' . '0' x 23 . '2'],
	'ANY of a service has both families';
is_deeply answer('primary.web.service.consul.test', 'AAAA'), [], 'another family than the one that there is';
is_deeply answer('one.service.consul.test', 'SRV'), ['one.service.consul.test. 7 SRV 1 1 82 Node-C.node.dc1.consul.test.'],
	'SRV: one for each node, address and port';
is_deeply answer('_odd_name._a_tag.service.consul.test', 'SRV'), ['_odd_name._a_tag.service.consul.test. 7 SRV 1 1 80 under_score.node.dc1.consul.test.'],
	'underscores are found though no host name has them';
is_deeply answer('odd_name.service.consul.test', 'A'), ['odd_name.service.consul.test. 7 A 10.0.0.7'], '... as a service, too';
is_deeply answer('own.service.alt.test', 'SRV'), ['own.service.alt.test. 7 SRV 1 1 83 0a090909.addr.dc1.consul.test.'],
	"targets are in the main domain, with the datacenter that was not asked for";

# ---- host names as addresses

is_deeply answer('mixed.service.consul.test', 'A'), ['mixed.service.consul.test. 7 A 10.0.0.1'], 'no CNAME where an instance has an address';
my $cnames = answer('host.service.consul.test', 'A');
is scalar(grep { / CNAME / } @$cnames), 1, 'one CNAME, of two';
ok $n->wait_for(sub { grep { /CNAME www/ } @{answer('host.service.consul.test', 'A')} }), '... now this one, now that';
$n->http('PUT', '/v1/catalog/deregister', { Node => 'Node-D', ServiceID => 'host2' });
my $resolved = ['host.service.consul.test. 7 CNAME www.example.com.', 'www.example.com. 7 A 192.0.2.1'];
ok $n->wait_for(sub { "@{answer('host.service.consul.test', 'A')}" eq "@$resolved" }), "a host name's address comes from the recursor, with the TTL of the service";
is_deeply answer('chain.service.consul.test', 'A'), ['alias.example.com. 7 CNAME www.example.com.', 'chain.service.consul.test. 7 CNAME alias.example.com.',
	'www.example.com. 7 A 192.0.2.1'], 'and what it is called besides';
cmp_ok scalar(@{answer('wide.service.consul.test', 'A')}), '<=', 7, 'few of many addresses without EDNS';
is @{answer('wide.service.consul.test', 'A', edns => 4096)}, 10, '... all of them with it';
is_deeply [grep { $_ ne 'A' && $_ ne '1' } map { $_->{type} } $recursor->log('many.example.com')], [], 'the recursor is asked for A alone';
$r = ask('host.service.consul.test', 'SRV');
is_deeply $r->{answer}, ['host.service.consul.test. 7 SRV 1 1 81 www.example.com.'], 'a host name is a target';
is_deeply $r->{additional}, ['www.example.com. 7 A 192.0.2.1'], '... with its address beside';
is_deeply answer('named.node.consul.test', 'A'), ['named.node.consul.test. 9 CNAME www.example.com.', 'www.example.com. 9 A 192.0.2.1'],
	'a node that is known by a name';
is_deeply answer('onname.service.consul.test', 'SRV'), ['onname.service.consul.test. 7 SRV 1 1 80 www.example.com.'], '... its service has that as target';
is_deeply answer('in1.service.consul.test', 'A')->[0], 'in1.service.consul.test. 7 CNAME web.service.consul.test.', 'a name of ours';
is_deeply [grep { / A / } @{answer('in1.service.consul.test', 'A')}], ['web.service.consul.test. 7 A 10.0.0.1'], '... is resolved here';
is scalar($recursor->log('web.service.consul.test')), 0, '... the recursor hears nothing of it';
my @deep = map { scalar grep { / A 10\.0\.0\.1$/ } @{answer("in$_.service.consul.test", 'A')} } 1 .. 5;
is_deeply \@deep, [1, 1, 1, 0, 0], 'through three names, not more';
is ask('round.service.consul.test', 'A')->{status}, 'NOERROR', 'a circle of names ends';

# ---- nodes

$r = ask('metas.node.consul.test', 'TXT', edns => 4096);
my %txt = map { my ($hex) = / TXT (\w+)$/; (pack('H*', $hex) => 1) } @{$r->{answer}};
ok $txt{"\x0akey=a=b``c"}, 'key=value, escaped as RFC 1464 says';
ok $txt{"\x07raw=`1`"}, 'rfc1035- is raw';
ok $txt{"\xfflong=" . 'z' x 250 . "\x96" . 'z' x 150}, 'what is too long for a string takes two';
is_deeply answer('metas.node.consul.test', 'AAAA'), [], 'no address of the family';
is @{ask('metas.node.consul.test', 'SRV')->{authority}}, 0, '... nor a SOA';

# ---- reverse names

$r = ask('4.0.0.10.in-addr.arpa', 'PTR');
is_deeply $r->{answer}, ['4.0.0.10.in-addr.arpa. 0 PTR Node-D.node.dc1.consul.test.'], "a node's address, TTL 0";
is_deeply [sort keys %{$r->{flags}}], [qw(aa qr ra rd)], '... AA';
is_deeply answer('9.9.9.10.in-addr.arpa', 'PTR'), ['9.9.9.10.in-addr.arpa. 0 PTR own.service.dc1.consul.test.'], "a service's own";
is_deeply answer('2' . '.0' x 23 . '.8.b.d.0.1.0.0.2.ip6.arpa', 'PTR'), ['2' . '.0' x 23 . '.8.b.d.0.1.0.0.2.ip6.arpa. 0 PTR Node-B.node.dc1.consul.test.'],
	'IPv6';
is_deeply answer('99.9.9.10.in-addr.arpa', 'PTR'), ['99.9.9.10.in-addr.arpa. 60 PTR far.example.com.'], 'what nobody here has, the recursor may know';
$n->http('PUT', '/v1/catalog/deregister', { Node => 'Node-D' });
ok $n->wait_for(sub { ask('4.0.0.10.in-addr.arpa', 'PTR')->{status} eq 'NXDOMAIN' }), 'a node that has gone has no name';
Dns::catalog($n, 'Node-D2', '10.0.0.4');
ok $n->wait_for(sub { (answer('4.0.0.10.in-addr.arpa', 'PTR')->[0] // '') =~ /Node-D2/ }), '... but another at its address has';

# ---- the zone

$r = ask('consul.test', 'SOA');
like Dns::dig($n, 'consul.test', 'SOA')->{answer}[0], qr/^consul\.test\. 30 SOA ns\.consul\.test\. hostmaster\.consul\.test\. \d{10} 11 12 13 30$/, 'SOA';
is_deeply $r->{authority}, ['consul.test. 9 NS server-one.node.dc1.consul.test.'], 'the server is told in lower case';
is_deeply $r->{additional}, ["server-one.node.dc1.consul.test. 9 A $n->{ip}"], '... with its address';
is ask('whatever.at.all.consul.test', 'MX')->{status}, 'NXDOMAIN', 'a name that is none';

# ---- listeners

$n->stop;
my $at = sub { my ($ip, @q) = @_; local $n->{ip} = $ip; return Dns::ask($n, @q) };
$n->{config}{addresses} = { dns => "$n->{ip} $second" };
$n->write_config;
$n->start;
for my $ip ($n->{ip}, $second) {
	is +($at->($ip, '7f000001.addr.consul.test', 'A') // { status => 'none' })->{status}, 'NOERROR', "UDP at each of addresses.dns";
	local $n->{ip} = $ip;
	is tcp('7f000001.addr.consul.test', 'A')->{status}, 'NOERROR', '... and TCP';
}
# A question padded to a datagram's size; one that is longer than any has to be is not read whole, and refused.
sub padded
{
	my ($size) = @_;
	my $p = Dns::query('7f000001.addr.consul.test', 'A');

	substr($p, 11, 1) = "\1";
	return $p . "\0" . pack('n n N n', 41, 1232, 0, $size + 4) . pack('n n', 12, $size) . "\0" x $size;
}
is Dns::parse(Dns::udp($n, padded(1400)))->{status}, 'NOERROR', 'a question with padding';
is Dns::parse(Dns::udp($n, padded(60000)))->{status}, 'FORMERR', 'a question of 60 KB over UDP';
my $s = Dns::socket_tcp($n);
print $s Dns::tcp_frame(padded(60000));
is Dns::parse(Dns::tcp_read($s))->{status}, 'NOERROR', '... over TCP';

my $off = Node->new(dev => 1, config => { ports => { dns => -1 } });
is +(Node::_run({}, 'dig', "\@$off->{ip}", '-p', 8600, '+tries=1', '+time=1', 'consul', 'SOA'))[0], 9, 'port -1: no DNS';
$off->stop;
my $unix = Node->new(dev => 1, start => 0, wait => 'none', config => { addresses => { dns => 'unix:///tmp/x.sock' } });
$unix->start;
is $unix->wait_exit, 1, 'no Unix sockets for DNS';
like $unix->err_text, qr/addresses\.dns/, '... by name';
for (['a keyword', 'service.test'], ['the datacenter', 'dc1.test'], ['an address of ours', 'addr']) {
	my $bad = Node->new(dev => 1, start => 0, wait => 'none', config => { alt_domain => $_->[1] });
	$bad->start;
	my $rc = $bad->wait_exit(10);
	is $rc, 1, "alt_domain may not begin with $_->[0]";
	$bad->kill if !defined $rc;
	like $bad->err_text, qr/alt_domain/, '... by name';
}

# ---- metrics and the log

Dns::catalog($n, 'Node-C', '10.0.0.3', { Service => 'own', Port => 83, Address => '10.9.9.9' });
Dns::catalog($n, 'metas', '10.0.0.8');

ask('own.service.consul.test', 'A');
ask('9.9.9.10.in-addr.arpa', 'PTR');
my %samples;
ok $n->wait_for(sub {
	%samples = map { $_->{Name} => $_ } @{$n->get_json('/v1/agent/metrics')->{Samples}};
	$samples{'consul.dns.domain_query'} && $samples{'consul.dns.ptr_query'};
}), 'questions and reverse questions are timed';
is $samples{'consul.dns.domain_query'}{Labels}{node}, 'Server-One', '... by node';
is $samples{'consul.dns.ptr_query'}{Labels}{node}, 'Server-One', '... both';
like $n->log_text, qr/request served from client: .*name=own\.service\.consul\.test\. type=A class=IN latency=\S+ client=\S+ client_network=udp/,
	'one line a question: name, type, class, latency, client';

# ---- reload: what needs a restart says so

$n->reload({ domain => 'other.test', alt_domain => 'third.test', dns_config => { node_ttl => '3s' } });
ok $n->wait_for(sub { (ask('metas.node.consul.test', 'A')->{answer}[0] // '') =~ / 3 A / }), 'dns_config is taken up';
is ask('metas.node.other.test', 'A')->{status}, 'NXDOMAIN', '... the domain is not';
like $n->log_text . $n->err_text, qr/domain/, '... and that is told';
$n->reload({ recursors => [] });
ok $n->wait_for(sub { ask('www.example.com', 'A')->{status} eq 'REFUSED' }), 'recursors go with a reload';
ok !ask('metas.node.consul.test', 'A')->{flags}{ra}, '... and RA with them';
$n->reload({ recursors => [$recursor->{address}] });
ok $n->wait_for(sub { ask('www.example.com', 'A')->{status} eq 'NOERROR' }), '... and come back';
$n->stop;

# ---- more than three servers, and some that cannot be told

my $d = Dnsd->new({ services => { consul => [
	(map { Dnsd::entry('consul', "Srv-$_", "10.1.0.$_") } 1 .. 5),
	Dnsd::entry('consul', 'bad_name', '10.1.0.6'), Dnsd::entry('consul', 'dotted.name', '10.1.0.7'),
	Dnsd::entry('consul', 'sick', '10.1.0.8', {}, 'critical') ] } }, {});
my %seen;
ok $d->wait_for(sub {
	my $x = Dns::ask($d, 'consul', 'NS') or return;
	$seen{$_}++ for map { (split)[3] } @{$x->{answer}};
	$seen{three} //= @{$x->{answer}} == 3 && @{$x->{additional}} == 3;
	return keys %seen == 6;
}), 'of five servers three at a time are named';
ok $seen{three}, '... with their addresses';
is_deeply [sort grep { /\./ } keys %seen], [map { "srv-$_.node.dc1.consul." } 1 .. 5],
	'... none with a name that is no host name, nor a critical one';
$d->data({ services => { consul => [Dnsd::entry('consul', 'bad_name', '10.1.0.6')] } });
ok $d->wait_for(sub { my $x = Dns::ask($d, 'consul', 'NS'); $x && !@{$x->{answer}} }), 'no server that can be named: none is';

# ---- answers that are old

is Dns::ask($d, 'consul.service.consul', 'A')->{status}, 'NOERROR', 'a warm name';
$d->kill_raftd;
ok $d->wait_for(sub {
	Dns::ask($d, 'consul.service.consul', 'A')->{status} eq 'NOERROR' or return 1;
	my ($m) = grep { $_->{Name} =~ /^dns\.stale_queries\b/ } @{($d->ask('daemon.metrics'))[1]};
	return $m && ($m->{TotalCount} // $m->{Count} // 0) > 0;
}, 60), 'stale answers are counted, some seconds after raftd has gone';
is Dns::ask($d, 'consul.service.consul', 'A')->{status}, 'NOERROR', '... and given';
is $d->stop('TERM'), 0, 'it ends well';
done_testing;
