#!/usr/bin/perl
# Debian's serf and gossipd in one pool, plain: members, tags, events, queries, leaving, failing, restarting, minutes of churn.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Serf;
use Test::More;
use Time::HiRes qw(sleep time);

plan skip_all => 'serf is not installed' if !Serf::available();
my $seed = $ENV{TEST_SEED} // int rand 2**31;
note "TEST_SEED=$seed";
srand $seed;

my $pool = Serf::Pool->new;
my $alpha = $pool->serf('alpha', tags => { role => 'web', dc => 'east' });
my $beta = $pool->gossipd('beta');
my $gamma = $pool->serf('gamma', handlers => ['user=cat >>' . "$pool->{tmp}/events" . '; echo " $SERF_USER_EVENT" >>' . "$pool->{tmp}/events",
	'query:load=echo answer from gamma'], join => "$pool->{net}.2:$pool->{port}");
my $delta = $pool->gossipd('delta');
ok($pool->wait_agree, 'four members, joined through both kinds, know each other') or diag $beta->log;

# ---- tags
is_deeply($beta->members->{alpha}{tags}, { role => 'web', dc => 'east' }, "serf's tags are seen");
is($alpha->members->{beta}{tags}{role}, 'node', 'and ours by serf');
is_deeply($gamma->members->{delta}{tags}, $beta->members->{delta}{tags}, 'all of them');
is(($alpha->run('tags', '-set=colour=blue'))[0], 0, 'serf sets a tag');
ok($pool->until(sub { ($delta->members->{alpha}{tags}{colour} // '') eq 'blue' }), 'it is seen at ours') or diag explain $delta->members;

# ---- events
sub event_time { my ($n) = @_; my (undef, $info) = $n->ask('daemon.info'); return $info->{serf_lan}{event_time} }
is(event_time($beta), 1, 'no event so far');
is(($alpha->run('event', 'deploy', 'one two'))[0], 0, 'serf fires an event');
ok($pool->until(sub { event_time($beta) > 1 && event_time($delta) > 1 }), 'ours hear of it');
my ($m, $r) = $beta->ask('gossip.serf_event', { Name => 'hello', Payload => 'from beta' });
ok(defined $m, 'one of ours fires an event') or diag explain $r;
ok($pool->until(sub { open my $f, '<', "$pool->{tmp}/events" or return 0; local $/; (<$f> // '') =~ /from beta\s+hello/ }), "serf's handler runs");
($m, $r) = $delta->ask('gossip.event_fire', { Name => 'release', Payload => 'x' });
like($r->{ID} // '', qr/^[0-9a-f]{8}-/, "an event of Consul's kind") or diag explain $r;
ok($pool->until(sub { my (undef, $l) = $beta->ask('gossip.event_list', {}); grep { $_->{Name} eq 'release' && $_->{Payload} eq 'x' } @$l }),
	'reaches the other of ours, through a pool with serf in it');

# ---- queries
# Gossip promises nothing: in a small pool now and then one of serf's own misses a query too, so it is asked again.
my ($code, $text, $q);
sub acked_by
{
	my ($asker, $want, @args) = @_;

	return $pool->until(sub {
		($code, $text) = $asker->run('query', '-format=json', '-timeout=2s', @args, 'load');
		$q = JSON::PP::decode_json($text =~ s/^[^{]*//r);
		return join(' ', sort @{$q->{Acks} // []}) eq $want;
	});
}
ok(acked_by($alpha, 'alpha beta delta gamma'), 'every member acknowledges a query') or diag $text;
like($q->{Responses}{gamma} // '', qr/answer from gamma/, 'who has a handler answers');
ok(acked_by($gamma, 'beta', '-node=beta'), 'a filter by name reaches one of ours alone') or diag $text;
ok(acked_by($gamma, 'beta delta', '-tag=role=no.*'), 'and a filter by tag both') or diag $text;
ok(acked_by($gamma, 'alpha beta delta gamma', '-relay-factor=2'), 'relayed answers are counted once') or diag $text;
ok($pool->until(sub { (($code, $text) = $alpha->run('reachability'))[0] == 0 }), 'serf finds every member reachable') or diag $text;
ok($pool->until(sub { ($alpha->run('rtt', 'alpha', 'beta'))[1] =~ /Estimated/ }), 'serf knows a coordinate of ours') or diag +($alpha->run('rtt', 'beta'))[1];
ok($pool->until(sub { my (undef, $l) = $beta->ask('gossip.coordinates', {}); grep { $_->{Node} eq 'alpha' } @$l }), "and we know serf's");

# ---- leaving and failing, both ways
$pool->leave($gamma);
ok($pool->wait_agree, 'serf leaves, and is left everywhere') or diag $beta->log;
ok($pool->leave($delta), 'one of ours leaves');
ok($pool->wait_agree, 'and is left everywhere') or diag $alpha->log;
$pool->kill($alpha);
my $epsilon = $pool->serf('epsilon', join => "$pool->{net}.2:$pool->{port}");
ok($pool->wait_agree, 'a killed serf is failed, a new one is there');
$pool->start($alpha);
ok($pool->wait_agree, 'it comes back by its snapshot or by ours asking it');
my $zeta = $pool->gossipd('zeta');
ok($pool->wait_agree, 'another one of ours');
$pool->kill($zeta);
ok($pool->wait_agree, 'killed, it is failed');
$pool->start($zeta);
ok($pool->wait_agree, 'and back by itself') or diag $zeta->log;
($code, $text) = $alpha->run('force-leave', 'nobody');
$pool->kill($zeta);
ok($pool->wait_agree, 'killed once more');
is(($alpha->run('force-leave', 'zeta'))[0], 0, 'serf says that it has left');
$pool->{gone}{zeta} = 'left';
ok($pool->wait_agree, 'ours agree');
my $eta = $pool->serf('eta');
ok($pool->wait_agree, 'one more serf');
$pool->kill($eta);
ok($pool->wait_agree, 'killed');
($m, $r) = $beta->ask('gossip.force_leave', { Node => 'eta' });
$pool->{gone}{eta} = 'left';
ok($pool->wait_agree, 'and said by one of ours to have left');

# ---- churn
my $end = time + ($ENV{TEST_SLOW} ? 240 : 120);
my ($steps, $bad, @did) = (0, 0);
sub did { my ($what, $m) = @_; push @did, "$what $m->{name} ($m->{kind})"; return $m; }
while (time < $end && !$bad) {
	my @there = grep { $_->{name} !~ /^(?:alpha|beta)$/ } $pool->running;
	my @failed = grep { ($pool->{gone}{$_->{name}} // '') eq 'failed' } @{$pool->{members}};
	my $what = rand;

	if ($what < 0.35 && @failed) {
		$pool->start(did('start', $failed[rand @failed]));
	} elsif ($what < 0.55 && @there > 1) {
		$pool->kill(did('kill', $there[rand @there]));
	} elsif ($what < 0.7 && @there > 1) {
		$pool->leave(did('leave', $there[rand @there]));
	} elsif (@there < 5 && $pool->{number} < 200) {
		my $kind = rand() < 0.5 ? 'serf' : 'gossipd';
		did('new', $pool->$kind("m$pool->{number}"));
	}
	$bad = !$pool->wait_agree;
	$steps++;
}
ok(!$bad, "all agree through $steps steps of churn") or diag join(', ', @did), "\n", $beta->log;
cmp_ok($steps, '>', 5, 'that were some');
for my $m (grep { $_->{kind} eq 'gossipd' } @{$pool->{members}}) {
	unlike($m->log, qr/\[ERROR\]|runtime error|AddressSanitizer|LeakSanitizer/, "$m->{name} had nothing to complain about");
}
done_testing;
