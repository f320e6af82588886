#!/usr/bin/perl
# The simulated pools: what is measured lies where the formulae say, Lifeguard is worth its while, a seed replays exactly.
use strict;
use warnings;
use Test::More;

my $sim = ($ENV{BUILDDIR} // '.') . '/t/sim/gossip/gossip';
my $seed = $ENV{TEST_SEED} // int rand 2**31;
note "TEST_SEED=$seed";

sub run
{
	my (@args) = @_;
	my $text = `$sim --seed $seed @args`;

	note $text;
	return ($? >> 8, $text);
}
sub wrong { my ($text) = @_; my ($n) = $text =~ /([0-9]+) anywhere/; return $n }

my ($rc, $small) = run('--check', '--members', '8,30,100', '--noisy', 120);
is($rc, 0, 'pools of 8, 30 and 100 behave as the formulae say');
my ($rc2, $again) = run('--check', '--members', '8,30,100', '--noisy', 120);
is($again, $small, 'the same seed gives the same run, to the byte');
my ($rc3, $large) = run('--check', '--members', 400, '--quiet', 20, '--noisy', 120);
is($rc3, 0, 'and one of 400');
cmp_ok(wrong($large), '<=', 2, 'in which next to nobody healthy was taken for failed') or diag $large;

# What Lifeguard is for shows when a starved member looks at its timers before it hears what waited for it.
my @trouble = ('--members', 300, '--quiet', 1, '--noisy', 300, '--starved', 8, '--timers-first');
my ($rc4, $with) = run(@trouble);
my ($rc5, $without) = run(@trouble, '--swim');
is($rc4 + $rc5, 0, 'a twelfth of the members starved, with Lifeguard and without');
cmp_ok(5 * wrong($with), '<', wrong($without), 'without it healthy members are taken for failed at least five times as often');
my ($rc6, $ours) = run(grep { $_ ne '--timers-first' } @trouble);
cmp_ok(5 * wrong($ours), '<', wrong($without), 'nor does it happen when packets come first, as in gossipd') or diag $ours;
if ($ENV{TEST_SLOW}) {
	my ($rc7) = run('--check', '--members', 2000, '--quiet', 20, '--noisy', 60);
	is($rc7, 0, 'a pool of 2,000');
}
done_testing;
