#!/usr/bin/perl
# Twenty-four gossipd on addresses of their own: a join is seen by all, ten killed at once are failed everywhere, and back; all but two leave.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Serf;
use Test::More;

my $seed = $ENV{TEST_SEED} // int rand 2**31;
note "TEST_SEED=$seed";
srand $seed;

my $pool = Serf::Pool->new;
my @m = map { $pool->gossipd("m$_") } 1 .. 24;
ok($pool->wait_agree, 'twenty-four, each joined through the first, know each other');
is(scalar(keys %{$_->members}), 24, "$_->{name} lists them") for @m[3, 17, 23];

my @killed = @m[grep { $_ % 5 > 2 } 0 .. 23];
$pool->kill($_) for @killed;
ok($pool->wait_agree, scalar(@killed) . ' killed at once are failed at all others');
$pool->start($_) for @killed;
ok($pool->wait_agree, 'and alive again when they are back');

my ($meta, $event) = $m[7]->ask('gossip.event_fire', { Name => 'all', Payload => 'hands' });
for my $n (@m) {
	ok($pool->until(sub { my (undef, $l) = $n->ask('gossip.event_list', {}); @$l == 1 && $l->[0]{ID} eq $event->{ID} }),
		"$n->{name} has the event, once");
}

# Leaving takes a while each: all at the same time.
$_->{d}->start('gossip.leave') for @m[2 .. 23];
for my $n (@m[2 .. 23]) {
	my (undef, $left) = $n->{d}->reply(60);
	ok(defined $left, "$n->{name} has left");
	$n->kill('TERM');
	$pool->{gone}{$n->{name}} = 'left';
}
ok($pool->wait_agree, 'the two that stay know that');
for my $n (@m) {
	unlike($n->log, qr/\[ERROR\]|runtime error|AddressSanitizer|LeakSanitizer/, "$n->{name} had nothing to complain about");
}
done_testing;
