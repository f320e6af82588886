#!/usr/bin/perl
# Keys with a TTL in a cluster: a change of the leader neither extends nor drops them; snapshots and restarts keep them.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Cluster;
use JSON::PP;
use Test::More;
use Time::HiRes qw(sleep time);
use Time::Piece ();

my $c = Cluster->new(servers => 3);
my $json = JSON::PP->new->allow_nonref->canonical;

sub put { my ($n, $path, $body) = @_; my ($status, undef, $r) = $n->http('PUT', "/v1/$path", $body // ''); return "$status $r" }
# As seconds.
sub at { my ($d, $ms) = $_[0] =~ /^(.*)(\.\d+)Z$/; return Time::Piece->strptime($d, '%Y-%m-%dT%H:%M:%S')->epoch + $ms }
sub entry { my ($n, $key) = @_; my ($status, undef, $r) = $n->http('GET', "/v1/kv/$key"); return $status == 200 ? $json->decode($r)->[0] : undef }

# ---- the leader dies
my $leader = $c->leader;
my ($s, $other) = grep { $_ != $leader } $c->nodes;
my $began = time;
is put($s, 'kv/short?ttl=5s', 'x'), '200 true', 'a key for five seconds';
is put($s, 'kv/long?ttl=1h', 'x'), '200 true', 'and one for an hour';
cmp_ok abs(at(entry($s, 'long')->{ExpiresAt}) - at(entry($other, 'long')->{ExpiresAt})), '<', 1, 'all servers tell the same deadline';
my $expires = entry($s, 'long')->{ExpiresAt};
$leader->kill;
ok $s->wait_for(sub { put($s, 'kv/alive', time) eq '200 true' }), 'another server leads';
my $gap = time - $began;
ok entry($s, 'short'), 'the key outlives its leader' if $gap < 5;
ok $s->wait_for(sub { !entry($s, 'short') }), 'and goes';
cmp_ok time - $began, '>=', 5, 'not before its time';
cmp_ok entry($s, 'long')->{ExpiresAt}, 'ge', $expires, 'the other one goes no earlier than it was said';
$leader->start;

# ---- a snapshot
is put($s, 'kv/brief?ttl=3s', 'x'), '200 true', 'three seconds';
my ($status, undef, $archive) = $s->http('GET', '/v1/snapshot');
is $status, 200, 'saved';
is put($s, 'kv/long', 'x'), '200 true', 'a key is made to stay';
ok $s->wait_for(sub { !entry($s, 'brief') }), 'another one goes';
is put($s, 'snapshot', $archive), '200 ', 'restored';
my $e = entry($s, 'long');
ok $e->{ExpiresAt}, 'the key has its TTL again';
cmp_ok $e->{ExpiresAt}, 'ge', $expires, 'all of it';
ok entry($s, 'brief')->{ExpiresAt}, 'and what had gone is there';
ok $s->wait_for(sub { !entry($s, 'brief') }), 'until its time is up again';

# ---- all servers stop
$_->stop for $c->running;
$_->start for $c->nodes;
my $l = $c->leader;
ok $l, 'they start again';
cmp_ok entry($l, 'long')->{ExpiresAt}, 'ge', $e->{ExpiresAt}, 'time in which nobody led does not count';

done_testing;
