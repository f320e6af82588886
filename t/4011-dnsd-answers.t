#!/usr/bin/perl
# What the configuration does to answers, each key changed by a reload, and
# what the client's EDNS does: seen from outside.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Test::More;
use Dns;
use Dnsd;

my $far = Dnsd::entry('far', 'f1', '10.3.0.1', { Port => 1 });
$far->{Node}{TaggedAddresses}{wan} = '198.51.100.1';
my $d = Dnsd->new({ services => {
	consul => [Dnsd::entry('consul', 'S1', '10.0.0.1'), Dnsd::entry('consul', 'no_name', '10.0.0.2')],
	tags => [Dnsd::entry('tags', 'n1', '10.1.0.1', { Tags => ['v1', 'EU'] }), Dnsd::entry('tags', 'n2', '10.1.0.2', { Tags => ['v1.us'] })],
	both => [map { (Dnsd::entry('both', "a$_", "10.2.0.$_"), Dnsd::entry('both', "b$_", "2001:db8::$_")) } 1 .. 4],
	many => [map { Dnsd::entry('many', "m$_", "10.4.0.$_", { Port => $_ }) } 1 .. 60],
	far => [$far],
	host => [Dnsd::entry('host', 'h1', 'www.example.com')],
	odd => [Dnsd::entry('odd', 'a..b', '10.5.0.1', { Port => 1 }), Dnsd::entry('odd', 'x' x 64, '10.5.0.2', { Port => 1 }),
		Dnsd::entry('odd', 'fine', '10.5.0.3', { Port => 1, Address => 'a..b' }), Dnsd::entry('odd', "sp ace\x01", '10.5.0.4', { Port => 1 })],
}, nodes => { n1 => { Node => 'n1', Address => '10.1.0.1', Meta => { map { ("k$_" => 'v') } 1 .. 5 } } } },
	{ alt_domain => 'alt.example', translate_wan_addrs => JSON::PP::true });

sub ask { return Dns::ask($d, @_); }
sub knobs { my (%k) = @_; $d->reload({ dns_config => { map { ($_ => $k{$_} ? JSON::PP::true : JSON::PP::false) } keys %k } }); }
sub addresses { my ($r) = @_; return [sort map { (split)[3] } @{$r->{answer}}]; }
sub types { my ($r) = @_; return join ' ', sort map { (split)[2] } @{$r->{answer}}; }

sub tcp
{
	my $s = Dns::socket_tcp($d);

	print $s Dns::tcp_frame(Dns::query(@_));
	return Dns::parse(Dns::tcp_read($s));
}

# ---- tags

is_deeply addresses(ask('v1.eu.tags.service.consul', 'A')), ['10.1.0.1'], 'labels that are no tag together are tags each';
is_deeply addresses(ask('eu.v1.tags.service.consul', 'A')), ['10.1.0.1'], '... in any order';
is_deeply addresses(ask('v1.us.tags.service.consul', 'A')), ['10.1.0.2'], '... and one that somebody has is one';
is ask('eu.us.tags.service.consul', 'A')->{status}, 'NXDOMAIN', 'nobody has both';
knobs(combine_tags => 0);
is ask('v1.eu.tags.service.consul', 'A')->{status}, 'NXDOMAIN', 'combine_tags off: one tag that nobody has';
is_deeply addresses(ask('v1.us.tags.service.consul', 'A')), ['10.1.0.2'], '... and one that somebody has';

# ---- ANY

is types(ask('both.service.consul', 'ANY', edns => 1232)), 'A A A A AAAA AAAA AAAA AAAA', 'ANY gives both families';
knobs(minimal_any => 1);
is types(ask('both.service.consul', 'ANY', edns => 1232)), 'A A A A', 'minimal_any: one record set';
is types(tcp('both.service.consul', 'ANY')), 'A A A A AAAA AAAA AAAA AAAA', '... but over TCP all';
is types(ask('n1.node.consul', 'ANY', edns => 1232)), 'A', '... and of a node its address';
is types(ask('n1.node.consul', 'TXT', edns => 1232)), 'TXT TXT TXT TXT TXT', '... while TXT gives its meta data';

# ---- how much fits

knobs();
is @{ask('many.service.consul', 'A')->{answer}}, 3, 'udp_answer_limit';
knobs(udp_fill => 1, enable_truncate => 1);
my $r = ask('many.service.consul', 'A');
is @{$r->{answer}}, 29, 'udp_fill: as many as 512 bytes hold';
cmp_ok $r->{size}, '<=', 512, '... and no more';
ok $r->{flags}{tc}, '... with TC under enable_truncate';
$r = ask('many.service.consul', 'SRV');
cmp_ok $r->{size}, '<=', 512, '... SRV too';
is @{$r->{additional}}, @{$r->{answer}}, '... with the address of each target';
$r = ask('many.service.consul', 'SRV', edns => 600, options => { 8 => pack('n C C a3', 1, 24, 0, "\12\1\2") });
cmp_ok $r->{size}, '<=', 593, 'options of EDNS take their room';
is $r->{options}{8}, '000118000a0102', '... and the subnet comes back with scope 0: the answer is for all';

# ---- other datacenters

is_deeply addresses(ask('far.service.dc2.consul', 'A')), ['198.51.100.1'], 'translate_wan_addrs: the WAN address of another datacenter';
is_deeply ask('far.service.dc2.consul', 'SRV')->{answer}, ['far.service.dc2.consul. 0 SRV 1 1 1 c6336401.addr.dc2.consul.'], '... spelled in the target';
is_deeply addresses(ask('far.service.dc1.consul', 'A')), ['10.3.0.1'], '... but not of ours';

# ---- the other domain

is_deeply ask('far.service.alt.example', 'SRV')->{answer}, ['far.service.alt.example. 0 SRV 1 1 1 f1.node.dc1.consul.'], 'targets are in the main domain';
like ask('no.alt.example', 'A')->{authority}[0], qr/^consul\. /, '... and the SOA';
is_deeply ask('alt.example', 'NS')->{answer}, ['consul. 0 NS s1.node.dc1.consul.'], '... and NS';
knobs(alt_domain_targets => 1);
is_deeply ask('far.service.alt.example', 'SRV')->{answer}, ['far.service.alt.example. 0 SRV 1 1 1 f1.node.dc1.alt.example.'], 'alt_domain_targets: in the one asked';
is_deeply ask('far.service.consul', 'SRV')->{answer}, ['far.service.consul. 0 SRV 1 1 1 f1.node.dc1.consul.'], '... whichever it is';
like ask('no.alt.example', 'A')->{authority}[0], qr/^alt\.example\. /, '... the SOA';
is_deeply ask('ALT.example', 'NS')->{answer}, ['alt.example. 0 NS s1.node.dc1.alt.example.'], '... NS, without names that are no host name';
is ask('f1.node.dc1.alt.example', 'A')->{status}, 'NXDOMAIN', '... where nodes are looked up';
is_deeply addresses(ask('n1.node.dc1.alt.example', 'A')), ['10.1.0.1'], '... and found';

# ---- names that DNS cannot hold

is @{ask('odd.service.consul', 'SRV', edns => 1232)->{answer}}, 1, 'targets that are no names are left out';
is @{ask('odd.service.consul', 'A', edns => 1232)->{answer}}, 3, '... and their addresses are not';
is ask('nope.' . ('x.' x 100) . 'service.consul', 'A')->{status}, 'NXDOMAIN', 'a name of many labels';
is ask("\0\xff\1.service.consul", 'A')->{status}, 'NXDOMAIN', 'odd bytes';

# ---- flags

is_deeply ask('far.service.consul', 'A', flags => 0)->{flags}, { qr => 1, aa => 1 }, 'RD is not made up';
is_deeply ask('far.service.consul', 'A', flags => 0x0130)->{flags}, { qr => 1, aa => 1, rd => 1 }, 'AD and CD are not echoed';
is ask('far.service.consul', 'A', class => 255)->{status}, 'NOERROR', 'class ANY is ours too';
is ask('far.service.consul', 'A', class => 3)->{status}, 'REFUSED', '... CH is not';
is ask('far.service.consul', 'A', flags => 0x2100)->{status}, 'NOTIMP', 'NOTIFY';
$d->reload({ recursors => ['127.0.0.1:1'] });
is_deeply ask($_, 'A')->{flags}, { qr => 1, aa => 1, rd => 1, ra => 1 }, "with recursors RA: $_" for 'far.service.consul', 'no.consul';
is_deeply ask('consul', 'SOA')->{flags}, { qr => 1, aa => 1, rd => 1, ra => 1 }, '... SOA';
done_testing;
