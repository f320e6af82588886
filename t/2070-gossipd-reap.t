#!/usr/bin/perl
# Members that are gone for longer than reconnect_timeout are erased, in both pools, and who watches is told.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Pool;
use Test::More;

my $pool = Pool->new(slice => { reconnect_timeout => 1000, reconnect_timeout_wan => 2000 });
my ($a, $b, $c) = $pool->form(3);
ok($pool->wait_members({ n1 => 1, n2 => 1, n3 => 1 }), 'three servers');
my %wan = map { ("n$_.dc1" => 1) } 1 .. 3;
ok(Pool::until(sub { !grep { !$_->sees(\%wan, 1) } $a, $b, $c }), 'that have met in the WAN pool too');

# Who left is not failed: it stays until its tombstone is reaped, a day later.
$c->want('gossip.leave');
$c->stop;
ok(Pool::until(sub { $a->sees({ n1 => 1, n2 => 1, n3 => 3 }) }), 'one leaves');
$b->stop('KILL');
ok(Pool::until(sub { $a->sees({ n1 => 1, n2 => 4, n3 => 3 }) }), 'one fails');
my ($meta) = $a->ask('gossip.members', {});
ok(Pool::until(sub { $a->sees({ 'n1.dc1' => 1, 'n2.dc1' => 4, 'n3.dc1' => 3 }, 1) }, 60), 'in both pools');

# Looked for each 15 s.
$a->start('gossip.members', {}, { MinIndex => $meta->{Index} });
my (undef, $later) = $a->reply(60);
cmp_ok($later->{Index}, '>', $meta->{Index}, 'a watch is told');
ok(Pool::until(sub { $a->sees({ n1 => 1, n3 => 3 }) }, 60), 'and the member is gone, unlike the one that left');
ok(Pool::until(sub { $a->sees({ 'n1.dc1' => 1, 'n3.dc1' => 3 }, 1) }, 60), 'from the WAN pool as well');
like($a->log, qr/serf\.lan: serf: EventMemberReap: n2\b/, 'which is written to the log');
like($a->log, qr/serf\.wan: serf: EventMemberReap: n2\.dc1\b/, 'twice');

$b->restart;
$b->join($a);
ok(Pool::until(sub { $a->sees({ n1 => 1, n2 => 1, n3 => 3 }) && $a->sees({ 'n1.dc1' => 1, 'n2.dc1' => 1, 'n3.dc1' => 3 }, 1) }, 60), 'it may come back');
for my $m ($a, $b) {
	unlike($m->log, qr/runtime error|Sanitizer/, 'nothing was wrong');
	is($m->stop >> 8, 0, 'ends with 0');
}
done_testing;
