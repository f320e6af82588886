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
my ($rc4, $plain) = run('--swim', '--members', 400, '--quiet', 5, '--noisy', 120);
is($rc4, 0, 'the same without Lifeguard');
cmp_ok(wrong($large), '<', wrong($plain) / 5, 'healthy members are taken for failed at least five times as often then');
if ($ENV{TEST_SLOW}) {
	my ($rc5) = run('--check', '--members', '2000,10000', '--quiet', 20, '--noisy', 60);
	is($rc5, 0, 'pools of 2,000 and 10,000');
}
done_testing;
