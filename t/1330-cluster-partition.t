#!/usr/bin/perl
# The network is cut: each side sees the other fail, the larger one goes on, and what was cut is whole again when it heals.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Test::More;
use Cluster;
BEGIN {
	plan skip_all => 'network namespaces cannot be made here' if !Cluster::can_namespace();
	Cluster::namespace();
}
use Time::HiRes qw(sleep time);

my $c = Cluster->new(servers => 3, clients => 2, net => 'ns');
my ($c1, $c2) = $c->clients;

# Asked inside of its namespace: it cannot be reached any more.
sub inside
{
	my ($n, $path) = @_;
	my (undef, $out) = Node::_run({}, @{$n->{wrap}}, 'curl', '-s', '-m', '20', "http://$n->{ip}:$n->{ports}{http}$path");

	return $out;
}
sub seen_inside
{
	my ($n) = @_;
	my $list = eval { JSON::PP::decode_json(inside($n, '/v1/agent/members')) } // [];

	return { map { $_->{Name} => $_->{Status} } @$list };
}

is $c->wait_members($c->all_alive), '', 'all see all';
is $c->wait_catalog($c->node(1), map { $_->{name} => 'passing' } $c->nodes), '', 'all are well';

# ---- the leader and a client, each alone
my $l = $c->leader;
my @rest = grep { $_ != $l && $_ != $c2 } $c->nodes;
my @servers = grep { !$_->{client} } @rest;
$c->cut($l);
$c->cut($c2);
my $from = time;
my $new = $c->next_leader($l, @servers);
ok $new != $l, sprintf 'another server leads (%.1f s)', time - $from;
my %split = (%{$c->all_alive(@rest)}, map { $_->{name} => 'failed' } $l, $c2);
is $c->wait_members(\%split, @rest), '', 'who was cut off is seen as failed by all others';
note sprintf '%.1f s', time - $from;
is $c->wait_catalog($new, (map { $_->{name} => 'critical' } $l, $c2), map { $_->{name} => 'passing' } @rest), '', 'and is critical in the catalog';
is +($c1->http('PUT', '/v1/kv/during', 'x'))[0], 200, 'the client that is left writes';
ok $l->wait_for(sub { my $m = seen_inside($l); 4 == grep { $_ == 4 } values %$m }), 'the old leader sees all others as failed';
is inside($l, '/v1/status/leader'), '""', 'and knows no leader';
ok $c2->wait_for(sub { inside($c2, '/v1/kv/during') eq 'No known Consul servers' }), 'the client that is alone has no server';

# ---- healed
$c->heal($_) for $l, $c2;
$from = time;
is $c->wait_members($c->all_alive, $c->nodes), '', 'healed, all see all again';
note sprintf '%.1f s', time - $from;
$c->wait_all;
is $c->wait_catalog($c2, map { $_->{name} => 'passing' } $c->nodes), '', 'and all are well';
is +($c2->http('GET', '/v1/kv/during?raw'))[2], 'x', 'the client that was alone reads what was written';
ok $new->wait_for(sub { @{[eval { $c->voters }]} == 3 }, 60), 'three servers vote';
is scalar(grep { ($_->log_text . $_->err_text) =~ /AddressSanitizer|runtime error/ } $c->nodes), 0, 'nothing broke';
done_testing;
