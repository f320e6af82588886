#!/usr/bin/perl
# Registrations that change nothing: answered without an entry of the log, and never on old news.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Cluster;
use JSON::PP;
use Test::More;
use Time::HiRes qw(sleep time);

my $c = Cluster->new(servers => 3);
my $json = JSON::PP->new->allow_nonref->canonical;
my ($a, $b, $d) = $c->nodes;

sub put { my ($n, $path, $h) = @_; my ($status, $headers, $body) = $n->http('PUT', "/v1/$path", ref $h ? $json->encode($h) : $h // ''); die "$path: $status $body" if $status != 200; return $headers }
# Entries of the log that are no housekeeping of the leader: its index, once it is at rest.
sub log_index
{
	my ($n) = @_;
	my ($was, $is) = (-1, -2);

	$n->wait_for(sub {
		$was = $is;
		$is = $n->get_json('/v1/agent/self')->{Stats}{raft}{last_log_index};
		sleep 0.2;
		return $was == $is;
	});
	return $is;
}
sub instances { my ($n, $name) = @_; return scalar grep { $_->{ServiceID} eq $name } @{ $n->get_json("/v1/catalog/service/$name?consistent") } }

is $c->wait_catalog($a, map { $_->{name} => 'passing' } $c->nodes), '', 'all are in the catalog';
my $all = { Node => 'ext', Address => '10.1.1.1', NodeMeta => { a => 'b' }, Service => { Service => 'web', Tags => ['x', 'y'], Port => 80 },
	Checks => [{ CheckID => 'n', Name => 'n', Status => 'passing' }, { CheckID => 's', Name => 's', Status => 'passing', ServiceID => 'web', Output => 'fine' }] };
put($a, 'catalog/register', $all);
my $i = log_index($a);
put($_, 'catalog/register', $all) for ($a, $b, $d) x 20;
my $after = log_index($a);
# Nodes' own housekeeping may come in between: it is far less than sixty entries.
cmp_ok $after - $i, '<', 20, 'the same sixty times over, through any server: no entries';
is instances($a, 'web'), 1, 'it stands';

# ---- each part counts
my @other = (
	[ 'the address', sub { $_[0]{Address} = '10.1.1.2' } ], [ 'the metadata', sub { $_[0]{NodeMeta}{a} = 'c' } ],
	[ 'a tag', sub { $_[0]{Service}{Tags} = ['x'] } ], [ 'the port', sub { $_[0]{Service}{Port} = 81 } ],
	[ 'a check of the node', sub { $_[0]{Checks}[0]{Status} = 'warning' } ], [ 'the output of a check', sub { $_[0]{Checks}[1]{Output} = 'bad' } ],
	[ 'another check', sub { push @{ $_[0]{Checks} }, { CheckID => 'm', Name => 'm', Status => 'passing' } } ],
	[ 'another instance', sub { $_[0]{Service}{ID} = 'web2'; $_[0]{Checks} = [] } ],
);
for my $o (@other) {
	my $h = $json->decode($json->encode($all));

	$o->[1]->($h);
	my $was = $json->encode([map { $a->get_json("/v1/$_?consistent") } 'catalog/node/ext', 'health/node/ext']);
	put($b, 'catalog/register', $h);
	isnt $json->encode([map { $a->get_json("/v1/$_?consistent") } 'catalog/node/ext', 'health/node/ext']), $was, "$o->[0] makes it another";
}

# ---- a check that ends sessions
put($a, 'catalog/register', { Node => 'ext', Address => '10.1.1.1', Check => { CheckID => 'n', Name => 'n', Status => 'critical' } });
put($a, 'catalog/register', { Node => 'ext', Address => '10.1.1.1', Check => { CheckID => 'n', Name => 'n', Status => 'critical' } });
is_deeply [map { $_->{Status} } grep { $_->{CheckID} eq 'n' } @{ $a->get_json('/v1/health/node/ext?consistent') }], ['critical'], 'a critical check stands';

# ---- removed by one, registered by another: never answered from what was before
my $lost = 0;
for my $round (1 .. 40) {
	my ($n, $m) = ($c->nodes)[$round % 3, ($round + 1) % 3];

	put($n, 'catalog/deregister', { Node => 'ext', ServiceID => 'web' });
	put($m, 'catalog/register', $all);
	$lost++ if instances(($c->nodes)[($round + 2) % 3], 'web') < 1;
}
is $lost, 0, 'forty times removed and registered again: it is always there';

# ---- and across a change of the leader
my $leader = $c->leader;
my ($survivor) = grep { $_ != $leader } $c->nodes;
put($survivor, 'catalog/deregister', { Node => 'ext', ServiceID => 'web' });
$leader->kill;
put($survivor, 'catalog/register', $all);
is instances($survivor, 'web'), 1, 'the next leader does not take it for there';
$leader->start;

# ---- who writes what an agent looks after is told
my $warning = qr/^the node runs an agent, which will undo this/;
my ($n) = grep { $_ != $leader } $c->nodes;
my $own = { Node => $n->{name}, Address => $n->{ip}, SkipNodeUpdate => JSON::PP::true, Service => { Service => 'stray' } };
sub warned { my ($h) = @_; my %h = ref $h eq 'HASH' ? %$h : (); my ($k) = grep { lc eq 'x-consul-warning' } keys %h; return $k ? $h{$k} : '' }
like warned(put($n, 'catalog/register', $own)), $warning, 'a registration at an agent\'s node';
like warned(put($n, 'catalog/register', $own)), $warning, 'again';
like warned(put($n, 'catalog/deregister', { Node => $n->{name}, ServiceID => 'stray' })), $warning, 'and its removal';
is warned(put($n, 'catalog/register', { %$all, Address => '10.9.9.9' })), '', 'a node without agent: no word';
is warned(put($n, 'catalog/deregister', { Node => 'ext' })), '', 'nor at its end';

done_testing;
