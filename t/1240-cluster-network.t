#!/usr/bin/perl
# Servers are cut off the network without a reset: the rest goes on, who is alone does not, and clients see one truth.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Test::More;
use Cluster;
BEGIN {
	plan skip_all => 'network namespaces cannot be made here' if !Cluster::can_namespace();
	Cluster::namespace();
}
use History;
use Time::HiRes qw(sleep time);

my $seed = $ENV{TEST_SEED} // int rand 2**31;
note "seed=$seed";
srand $seed;
# Who is cut off stays a voter: the rounds need all three.
my $c = Cluster->new(servers => 3, net => 'ns', config => { autopilot => { cleanup_dead_servers => JSON::PP::false } });
my $h = History->start($c, clients => 6, keys => 3, timeout => 4, seed => int rand 2**31);

sub writes
{
	my ($what, @who) = @_;
	my $n = 0;

	for my $i (1 .. 30) {
		my $node = $who[$i % @who];
		$node->wait_for(sub { ($node->http('PUT', "/v1/kv/progress/$i", $what))[0] == 200 }) and $n++;
	}
	is $n, 30, "$what: writes go through";
}

# Its local answer, asked inside of its namespace: it cannot be reached any more.
sub inside
{
	my ($n, $path) = @_;
	my (undef, $out) = Node::_run({}, @{$n->{wrap}}, 'curl', '-s', '-m', '20', '-w', '\n%{http_code}', "http://$n->{ip}:$n->{ports}{http}$path");

	return $out;
}

writes('before', $c->nodes);
for my $round (1 .. 2) {
	my $l = $c->leader;
	my @rest = grep { $_ != $l } $c->nodes;
	$c->cut($l);
	my $new = $c->next_leader($l, @rest);
	ok $new != $l, "round $round: the leader is cut off, another leads";
	writes('leader cut off', @rest);
	like inside($l, '/v1/kv/progress/1?consistent'), qr/\n500$/, 'who is alone refuses consistent reads';
	like inside($l, '/v1/kv/progress/1'), qr/\n500$/, 'and default ones';
	like inside($l, '/v1/kv/progress/1?stale&raw'), qr/\n200$/, 'and answers stale ones';
	$c->heal($l);
	$c->wait_all;
	writes('healed', $c->nodes);
}
{
	my ($f) = $c->followers;
	my $term = ($c->leader->ctl('info'))[1] =~ /\bterm = (\d+)/ ? $1 : -1;
	$c->cut($f);
	my @rest = grep { $_ != $f } $c->nodes;
	writes('follower cut off', @rest);
	ok $f->wait_for(sub { inside($f, '/v1/status/leader') =~ /^""/ }), 'who is alone knows no leader';
	$c->heal($f);
	$c->wait_all;
	my $after = ($c->leader->ctl('info'))[1] =~ /\bterm = (\d+)/ ? $1 : -2;
	is $after, $term, 'a server that comes back does not disturb the leader (pre-vote)';
}
{
	my @two = $c->followers;
	$c->cut($_) for @two;
	my ($l) = grep { my $n = $_; !grep { $_ == $n } @two } $c->nodes;
	ok $l->wait_for(sub { ($l->http('GET', '/v1/status/leader'))[2] =~ /^""/ }), 'a leader without a majority steps down';
	my ($status, undef, $body) = $l->http('PUT', '/v1/kv/alone', 'x');
	is $status, 500, 'and takes no write';
	$c->heal($_) for @two;
	$c->wait_all;
	writes('majority back', $c->nodes);
}
my $r = $h->stop;
note "ops=$r->{ops} unknown=$r->{unknown} longest without a write: $r->{gap_ms} ms";
cmp_ok $r->{ok}, '>', 100, 'clients got on';
is $h->check, '', 'linearizable';
$c->wait_equal;
done_testing;
