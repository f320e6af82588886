#!/usr/bin/perl
# Names of addresses: nodes and services by in-addr.arpa and ip6.arpa, what
# nobody here has, odd names, and raftd away.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Test::More;
use Time::HiRes qw(sleep time);
use Dns;
use Dnsd;
use Recursor;

my $six = join('.', reverse(split //, '20010db8000000000000000000000001')) . '.ip6.arpa';
my %data = (services => {}, nodes => {}, queries => {}, addresses => {
	'10.0.0.1' => { Node => 'Node-1', Services => [] }, '10.0.0.2' => { Node => '', Services => ['db', 'web'] },
	'2001:db8::1' => { Node => 'six', Services => [] }, '10.0.0.5' => { Node => 'bad..name', Services => [] },
});
my $d = Dnsd->new(\%data, { datacenter => 'dc1' });
sub ask { my ($name, $type, %o) = @_; return Dns::ask($d, $name, $type // 'PTR', %o) // { status => 'none', answer => [], flags => {} } }

# ---- without recursors

my $r = ask('1.0.0.10.in-addr.arpa');
is $r->{answer}[0], '1.0.0.10.in-addr.arpa. 0 PTR Node-1.node.dc1.consul.', 'PTR of a node, as it is spelled';
ok $r->{flags}{aa} && !$r->{flags}{ra}, '... with authority, and nobody to ask about others';
is ask('2.0.0.10.in-addr.arpa')->{answer}[0], '2.0.0.10.in-addr.arpa. 0 PTR db.service.dc1.consul.', 'else of the first service there';
is scalar(@{ask('2.0.0.10.in-addr.arpa')->{answer}}), 1, '... of it alone';
is ask($six)->{answer}[0], "$six. 0 PTR six.node.dc1.consul.", 'an IPv6 address';
is ask(uc $six)->{answer}[0], uc($six) . '. 0 PTR six.node.dc1.consul.', '... in capitals';
is ask('1.0.0.10.in-addr.arpa', 'ANY')->{answer}[0], '1.0.0.10.in-addr.arpa. 0 PTR Node-1.node.dc1.consul.', 'ANY gives the same';
$r = ask('1.0.0.10.in-addr.arpa', 'A');
is_deeply [$r->{status}, $r->{answer}], ['NOERROR', []], 'there is no other type';
$r = ask('9.0.0.10.in-addr.arpa');
is $r->{status}, 'SERVFAIL', 'an address of nobody';
ok $r->{flags}{ra} && !$r->{flags}{aa}, '... with RA and without AA';
for my $odd ('0.0.10.in-addr.arpa', '256.0.0.10.in-addr.arpa', '01.0.0.10.in-addr.arpa', 'x.0.0.10.in-addr.arpa', '1.1.0.0.10.in-addr.arpa',
	'in-addr.arpa', 'arpa', 'ip6.arpa', "1.$six", '1.0.0.10.e164.arpa', 'gg' . substr($six, 1), substr($six, 2)) {
	is ask($odd)->{status}, 'SERVFAIL', "an odd name: $odd";
}
is ask('5.0.0.10.in-addr.arpa')->{status}, 'SERVFAIL', 'a node whose name DNS cannot hold';

# ---- changes, raftd away

ask('9.0.0.10.in-addr.arpa');
$data{addresses}{'10.0.0.9'} = { Node => 'nine', Services => [] };
$data{addresses}{'10.0.0.1'} = { Node => 'one', Services => [] };
$d->data(\%data);
ok $d->wait_for(sub { (ask('1.0.0.10.in-addr.arpa')->{answer}[0] // '') =~ /one\.node/ }, 10), 'a change is told';
ok $d->wait_for(sub { (ask('9.0.0.10.in-addr.arpa')->{answer}[0] // '') =~ /nine\.node/ }, 10), '... of an address that nobody had, too';
$d->kill_raftd;
ok $d->wait_for(sub { $d->info->{raftd} eq 'away' }, 10), 'raftd has gone';
like ask('1.0.0.10.in-addr.arpa')->{answer}[0], qr/one\.node/, 'a warm address is answered';
is ask('77.0.0.10.in-addr.arpa')->{status}, 'SERVFAIL', 'a new one is an error';

# ---- recursors

my $rec = Recursor->new({ '8.0.0.10.in-addr.arpa' => { PTR => 'host.example' }, '1.0.0.10.in-addr.arpa' => { PTR => 'wrong.example' } });
$d->reload({ recursors => [$rec->{address}] });
like ask('1.0.0.10.in-addr.arpa')->{answer}[0], qr/one\.node/, 'with recursors: what we know is ours';
like ask('7.0.0.10.in-addr.arpa')->{status}, qr/NXDOMAIN/, '... without raftd they are asked about the rest';
$d->raftd;
ok $d->wait_for(sub { $d->info->{raftd} eq 'connected' }, 10), 'raftd is back';
is ask('8.0.0.10.in-addr.arpa')->{answer}[0], '8.0.0.10.in-addr.arpa. 60 PTR host.example.', 'what nobody here has is theirs';
is ask('x.0.0.10.in-addr.arpa')->{status}, 'NXDOMAIN', '... and so is what is no address';
is ask('6.0.0.10.in-addr.arpa')->{status}, 'NXDOMAIN', '... their NXDOMAIN as well';
ok ask('1.0.0.10.in-addr.arpa')->{flags}{ra}, 'RA is set';
is scalar($rec->log('1.0.0.10.in-addr.arpa')), 0, 'they were not asked about what is ours';
$d->reload({ recursors => [] });
is ask('8.0.0.10.in-addr.arpa')->{status}, 'SERVFAIL', 'a reload takes them away';
my %metric = map { $_->{Name} => $_ } @{($d->ask('daemon.metrics'))[1]};
cmp_ok $metric{'dns.ptr_query;node=n1'}{TotalCount} // 0, '>', 20, 'they are counted by themselves';
done_testing;
