#!/usr/bin/perl
# Servers find each other in whatever order they come, leave and come back, move, fail, and are not taken in by mistake.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Cluster;
use Test::More;
use Time::HiRes qw(time);

sub servers { my ($n) = @_; return @{$n->get_json('/v1/operator/raft/configuration?stale')->{Servers}} }
sub voters { my ($n) = @_; return scalar grep { $_->{Voter} } servers($n) }
sub has { my ($n, $k) = @_; return ($n->http('GET', "/v1/kv/$k?raw"))[2] }

# ---- two of three do not begin alone; the third comes later, and knows only one of them

my $c = Cluster->new(servers => 3, start => 0, config => { autopilot => { server_stabilization_time => '500ms' } });
my ($x, $y, $z) = $c->nodes;
$z->{config}{retry_join} = [$x->{ip}];
$z->write_config;
$_->{config}{retry_join} = [map { $_->{ip} } $x, $y] for $x, $y;
$_->write_config for $x, $y;
$_->start for $x, $y;
ok $x->wait_log(qr/waiting for other servers before a cluster begins: expected=3 present=2/), 'two of three wait';
is +($x->http('GET', '/v1/status/leader'))[2], '""', 'and have no leader';
$z->start;
$c->wait_all;
is voters($x), 3, 'three voters when the third is there';
is scalar(keys %{{ map { ($_->ctl('info'))[1] =~ /cluster = (\w+)/ ? ($1 => 1) : () } $c->nodes }}), 1, 'in one cluster';
is scalar(grep { ($_->log_text) =~ /beginning a new cluster/ } $c->nodes), 1, 'that one of them began';

# ---- a server leaves and comes back; the leader, too

for my $who ('a follower', 'the leader') {
	my ($n) = $who eq 'the leader' ? $c->leader : $c->followers;
	my ($rest) = grep { $_ != $n } $c->running;

	is +($n->http('PUT', '/v1/agent/leave'))[0], 200, "$who leaves";
	is $n->wait_exit, 0, 'and ends';
	$c->leader;
	is voters($rest), 2, 'two servers are left';
	ok $rest->wait_for(sub { @{$rest->get_json('/v1/catalog/service/consul')} == 2 }), 'and two in the catalog';
	$n->start;
	ok $rest->wait_for(sub { voters($rest) == 3 }, 30), 'it is let in again, and gets its vote back';
	$c->wait_all;
}

# ---- leadership goes where it is told to

my ($f) = $c->followers;
my $id = $f->get_json('/v1/agent/self')->{Config}{NodeID};
my ($rc, $out, $err) = $f->ctl(qw(operator raft transfer-leader -id), $id);
is "$rc $out$err", "0 Success\n", 'transfer-leader';
is $c->leader->{name}, $f->{name}, 'it leads';

# ---- autopilot's view

my $health = $c->leader->get_json('/v1/operator/autopilot/health');
ok $c->leader->wait_for(sub { ($health = eval { $c->leader->get_json('/v1/operator/autopilot/health') } // {})->{Healthy} }), 'all are healthy';
is $health->{FailureTolerance}, 1, 'one may fail';
($rc, $out, $err) = $c->leader->ctl(qw(operator autopilot set-config -cleanup-dead-servers=false));
is $rc, 0, "dead servers are kept $err";
my ($sick) = $c->followers;
$sick->kill;
my ($status, undef, $body);
ok $c->leader->wait_for(sub { ($status, undef, $body) = $c->leader->http('GET', '/v1/operator/autopilot/health'); $status == 429 }),
    'one failed: 429';
is JSON::PP::decode_json($body)->{FailureTolerance}, 0, 'none more may fail';

# A session of the failed node ends when its serfHealth turns critical.
my $l = $c->leader;
(undef, undef, $body) = $l->http('PUT', '/v1/session/create', qq({"Node":"$sick->{name}"}));
my $session = JSON::PP::decode_json($body)->{ID};
ok $l->wait_for(sub { grep { $_->{CheckID} eq 'serfHealth' && $_->{Status} eq 'critical' }
	@{$l->get_json("/v1/health/node/$sick->{name}")} }, 30), 'serfHealth of the failed server turns critical';
ok $l->wait_for(sub { !@{$l->get_json("/v1/session/info/$session")} }), 'which ends its sessions';
# The other follower cannot be removed now.
my ($other) = grep { $_ != $l && $_ != $sick } $c->nodes;
($rc, $out, $err) = $l->ctl(qw(operator raft remove-peer -address), "$other->{ip}:$other->{ports}{server}");
like "$rc $err", qr/^1 .*too few voters that can be reached for a quorum/, 'a server that the quorum needs cannot be removed' or diag $l->log_text;

# ---- it comes back at another address: known by its data directory

$l->http('PUT', '/v1/kv/moved', 'yes');
my $old = $sick->{ip};
($sick->{ip} = $old) =~ s/\.(\d+)$/'.' . ($1 + 100)/e;
$sick->{config}{$_} = $sick->{ip} for grep { ($sick->{config}{$_} // '') eq $old } keys %{$sick->{config}};
$sick->write_config;
$sick->start;
ok $l->wait_for(sub { grep { $_->{Address} eq "$sick->{ip}:$sick->{ports}{server}" } servers($l) }, 40), 'a server that moved is found';
is scalar(servers($l)), 3, 'and is the same one';
$c->wait_all;
is has($sick, 'moved'), 'yes', 'it has what it missed';

# ---- a copy of a server that is alive does not replace it

my $copy = $c->add(start => 0);
mkdir $copy->{data_dir};
system('cp', '-a', "$sick->{data_dir}/node-id", "$copy->{data_dir}/node-id") == 0 or die;
$copy->start;
# By the leader when it asks, or before that by the pool.
ok $l->wait_for(sub { grep { $_->log_text =~ /a server cannot join.*which is alive|has (?:the|this agent's) node ID/ } $c->nodes }),
    'the node ID of a server that is alive is refused' or diag $copy->log_text, $l->log_text;
is scalar(servers($l)), 3, 'three servers';
$copy->kill;

# ---- dead servers are cleaned up

SKIP: {
	skip 'takes half a minute: set TEST_SLOW', 3 if !$ENV{TEST_SLOW};
	$l->ctl(qw(operator autopilot set-config -cleanup-dead-servers=true));
	$sick->kill;
	my $from = time;
	ok $l->wait_for(sub { servers($l) == 2 }, 60), 'a dead server is taken out';
	cmp_ok time - $from, '>', 9, 'not at once';
	$sick->start;
	ok $l->wait_for(sub { voters($l) == 3 }, 60), 'and let in again when it is back';
}
done_testing;
