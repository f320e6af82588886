#!/usr/bin/perl
# Prepared queries by DNS: names and IDs, templates, TTLs, the order of the
# query, the client's subnet; what is kept, and how soon a change is seen.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Test::More;
use Time::HiRes qw(sleep time);
use Dns;
use Dnsd;

# ---- against a raftd that says what it is told to

sub q_of
{
	my ($service, $nodes, %more) = @_;

	return { Service => $service, Datacenter => 'dc1', Ranks => [map { 0 } @$nodes], Nodes => $nodes, %more };
}
my @three = map { Dnsd::entry('web', "n$_", "10.0.0.$_", { Port => 80 + $_, Weights => { Passing => $_, Warning => 9 } }, 'passing') } 1 .. 3;
my %data = (services => {}, nodes => {}, addresses => {}, queries => {
	web => q_of('web', \@three), 'a.b' => q_of('web', [$three[0]], TTL => '5s'),
	far => q_of('web', [$three[1]], Datacenter => 'dc7'),
	ranked => q_of('web', \@three, Ranks => [0, 1, 1]),
	sick => q_of('web', [Dnsd::entry('web', 'n9', '10.0.0.9', { Weights => { Passing => 1, Warning => 4 } }, 'critical')]),
	warned => q_of('web', [Dnsd::entry('web', 'n9', '10.0.0.9', {}, 'warning')]),
	empty => q_of('web', []), six => q_of('web', [Dnsd::entry('web', 'n6', '2001:db8::6')]),
	near => q_of('web', \@three, PerClient => JSON::PP::true, Ranks => [0, 0, 0]),
	'near@10.2.0.0' => q_of('web', [@three[1, 0, 2]], PerClient => JSON::PP::true, Ranks => [0, 1, 2]),
	'near@10.3.0.0' => q_of('web', [@three[2, 1, 0]], PerClient => JSON::PP::true, Ranks => [0, 1, 2]),
	old => { Service => 'web', Datacenter => 'dc1', Nodes => [$three[0]] },
});
my $d = Dnsd->new(\%data, { dns_config => { service_ttl => { web => 30000 }, node_ttl => 7000 } });

sub ask { my ($name, $type, %o) = @_; return Dns::ask($d, "$name.query.consul", $type // 'A', %o) // { status => 'none', answer => [] } }
sub order { return join ' ', map { /(\d+)$/ } @{$_[0]{answer}} }
sub ecs { my ($source, @ip) = @_; return (options => { 8 => pack 'n C C C*', 1, $source, 0, @ip[0 .. int(($source + 7) / 8) - 1] }, edns => 1232) }

my $r = ask('web');
is $r->{status}, 'NOERROR', 'a query by its name';
is_deeply [sort @{$r->{answer}}], [map { "web.query.consul. 30 A 10.0.0.$_" } 1 .. 3], '... the instances, with the TTL of their service';
ok $r->{flags}{aa}, '... with authority';
is ask('a.b')->{answer}[0], 'a.b.query.consul. 5 A 10.0.0.1', 'a name with a dot, and a TTL of its own';
is Dns::ask($d, 'WeB.QuErY.dc1.consul', 'A')->{status}, 'NOERROR', 'in any spelling, with the datacenter';
$r = ask('far', 'SRV');
is $r->{answer}[0], 'far.query.consul. 30 SRV 1 2 82 n2.node.dc7.consul.', 'SRV: the datacenter is that which answered';
is $r->{additional}[0], 'n2.node.dc7.consul. 30 A 10.0.0.2', '... and the address is there';
is order(ask('sick')), 9, 'whom the query found is told of, whatever his health';
is +(ask('sick', 'SRV')->{answer}[0] =~ /SRV 1 (\d+)/)[0], 1, '... with a weight';
$d->reload({ dns_config => { only_passing => JSON::PP::true } });
is order(ask('warned')), 9, 'only_passing is of services, a query has a rule of its own';
$d->reload({ dns_config => { service_ttl => { web => 30000 } } });
is ask('nobody')->{status}, 'NXDOMAIN', 'no such query';
is scalar(@{ask('nobody')->{authority}}), 1, '... with SOA';
is ask('empty')->{status}, 'NXDOMAIN', 'a query that finds nobody';
$r = ask('six');
is $r->{status}, 'NOERROR', 'addresses of another family only: no data';
is_deeply [scalar @{$r->{answer}}, scalar @{$r->{authority}}], [0, 1], '... with SOA';
is Dns::ask($d, 'query.consul', 'A')->{status}, 'NXDOMAIN', 'without a name';
is Dns::ask($d, 'web.query.dc9.consul', 'A')->{status}, 'NXDOMAIN', 'no path to a datacenter';

# ---- order

my %first;
$first{order(ask('web'))}++ for 1 .. 60;
cmp_ok scalar(keys %first), '>', 3, 'without distances the order is a random one';
%first = ();
$first{order(ask('ranked'))}++ for 1 .. 60;
is_deeply [sort keys %first], ['1 2 3', '1 3 2'], 'the nearest is always first, equally near ones change places';
is order(ask('ranked', 'A', tcp => 1)) =~ /^1 /, 1, '... however often';
$d->reload({ dns_config => { a_record_limit => 2 } });
like order(ask('ranked')), qr/^1 [23]$/, 'a_record_limit cuts the rest';
$d->reload({ dns_config => { udp_answer_limit => 1 } });
is order(ask('ranked')), 1, 'and so does udp_answer_limit';
$d->reload({ dns_config => {} });

# ---- the client's subnet

like order(ask('near')), qr/^\d \d \d$/, 'near=_ip: without a known address any order';
is order(ask('near', 'A', ecs(16, 10, 2))), '2 1 3', 'the subnet of the client counts';
is order(ask('near', 'A', ecs(24, 10, 3, 0))), '3 2 1', '... of each';
is order(ask('near', 'A', ecs(16, 10, 2))), '2 1 3', '... and they are not mixed up';
is ask('near', 'A', ecs(16, 10, 2))->{options}{8}, '000110100a02', 'the subnet comes back, its scope is its length';
is ask('web', 'A', ecs(16, 10, 2))->{options}{8}, '000110100a02', '... for every prepared query';
is ask('web', 'A', ecs(16, 10, 2))->{options}{8}, '000110100a02', '... a warm one, too';
is ask('nobody', 'A', ecs(16, 10, 2))->{options}{8}, '000110000a02', '... but not for errors: those are the same for all';
is Dns::ask($d, 'n1.node.consul', 'A', ecs(16, 10, 2))->{options}{8}, '000110000a02', '... nor for other names';
is order(ask('near', 'A', ecs(16, 10, 2))), '2 1 3', 'no answer was kept for others' for 1 .. 3;
$data{queries}{'near@10.2.0.0'}{Nodes} = [@three[0, 2, 1]];
$d->data(\%data);
ok $d->wait_for(sub { order(ask('near', 'A', ecs(16, 10, 2))) eq '1 3 2' }, 10), 'a change of it is seen';
my $sock = Dns::socket_udp($d);
my $answered = 0;
for my $i (0 .. 99) {
	$sock->send(Dns::query('near.query.consul', 'A', ecs(32, 11, 0, $i, $_))) for 1 .. 30;
	for (1 .. 30) {
		last if !IO::Select->new($sock)->can_read(10);
		$sock->recv(my $p, 4096);
		$answered++;
	}
}
cmp_ok $answered, '>', 2900, 'a flood of subnets is answered';
cmp_ok $d->info->{views_unknown}, '<=', 2048, '... and leaves little behind';
is order(ask('ranked')) =~ /^1/, 1, '... and pushed out none of the others';

# ---- changes, and raftd away

$data{queries}{web} = q_of('web', [$three[2]]);
$data{queries}{new} = q_of('web', [$three[1]]);
is ask('new')->{status}, 'NXDOMAIN', 'a name that is no query yet';
$d->data(\%data);
my $t = time;
ok $d->wait_for(sub { order(ask('web')) eq '3' }, 10), 'a change is told';
ok $d->wait_for(sub { ask('new')->{status} eq 'NOERROR' }, 10), 'a new query is found, though it was asked for before';
delete $data{queries}{new};
is order(ask('old')), 1, 'a raftd that does not tell of changes';
$data{queries}{old}{Nodes} = [$three[1]];
$d->data(\%data);
ok $d->wait_for(sub { order(ask('old')) eq '2' }, 10), '... is asked again soon';
ok $d->wait_for(sub { ask('new')->{status} eq 'NXDOMAIN' }, 10), 'and a query that was removed is gone';
$d->kill_raftd;
ok $d->wait_for(sub { $d->info->{raftd} eq 'away' }, 10), 'raftd has gone';
is order(ask('web')), 3, 'a warm query is answered';
is ask('a.b', 'SRV')->{status}, 'NOERROR', '... for another type';
$t = time;
like order(ask('near', 'A', ecs(16, 10, 9))), qr/^\d \d \d$/, '... and one that is near to its client in any order';
cmp_ok time - $t, '<', $ENV{TEST_TIMEOUT} // 1, '... at once';
ok $d->wait_for(sub { $d->info->{views_stale} > 0 }, 10), 'they are stale';
$d->reload({ dns_config => { max_stale => 1 } });
ok $d->wait_for(sub { ask('web')->{status} eq 'SERVFAIL' }, 10), 'beyond max_stale they are not told';
done_testing;
