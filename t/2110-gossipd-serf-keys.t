#!/usr/bin/perl
# Debian's serf and gossipd in one sealed pool: keys of all sizes, rotation begun on either side, strangers, churn.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Serf;
use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(sleep time);

plan skip_all => 'serf is not installed' if !Serf::available();
my $seed = $ENV{TEST_SEED} // int rand 2**31;
note "TEST_SEED=$seed";
srand $seed;

sub key { return MIME::Base64::encode_base64(join('', map { chr int rand 256 } 1 .. $_[0]), '') }
my ($first, $second, $small) = (key(32), key(24), key(16));

my $pool = Serf::Pool->new(keys => [$first]);
my $alpha = $pool->serf('alpha');
my $beta = $pool->gossipd('beta');
my $gamma = $pool->serf('gamma');
my $delta = $pool->gossipd('delta');
ok($pool->wait_agree, 'a sealed pool of both kinds') or diag $beta->log;

# A lost answer is a key not counted: asked until all have answered, or for too long.
sub all_say
{
	my ($what, $want, $ask) = @_;
	my $got;

	$pool->until(sub { $got = $ask->(); JSON::PP->new->canonical->encode($got) eq JSON::PP->new->canonical->encode($want) });
	is_deeply($got, $want, $what);
}
# { key => members } as one of ours counts them
sub keys_by_ours
{
	my ($m, $r) = $beta->ask('gossip.keyring', { Verb => 'list' });

	return defined $m ? $r->[0] : { error => $r->{Text} };
}
# Of serf's and ours: lost questions are asked again, and an operation that was done already is done once more.
sub serf_does { my ($what) = @_; return $pool->until(sub { ($alpha->run("keys -$what"))[0] == 0 }) }
sub ours_do
{
	my ($verb, $key, %o) = @_;
	my ($m, $r);

	return $pool->until(sub {
		($m, $r) = $delta->ask('gossip.keyring', { Verb => $verb, Key => $key, %o });
		return defined $m && $r->[0]{NumErr} == 0 && $r->[0]{NumResp} == $r->[0]{NumNodes};
	});
}
sub keys_by_serf
{
	my ($code, $text) = $alpha->run('keys -list');
	my %seen;

	$seen{$1} = $2 while $text =~ m{(\S+)\s*\[(\d+/\d+)\]}g;
	return \%seen;
}

all_say('one of ours counts the key of all four', { $first => 4 }, sub { keys_by_ours()->{Keys} // {} });
all_say('and so does serf', { $first => '4/4' }, \&keys_by_serf);

# ---- rotation begun by serf
ok(serf_does("install=$second"), 'serf installs a key');
all_say('everywhere', { $first => 4, $second => 4 }, sub { keys_by_ours()->{Keys} // {} });
ok(serf_does("use=$second"), 'and makes it the primary one');
all_say('which it is everywhere', { $second => 4 }, sub { keys_by_ours()->{PrimaryKeys} // {} });
ok($pool->wait_agree, 'the pool holds together');
my ($code, $text) = $alpha->run("keys -remove=$second");
isnt($code, 0, 'the primary key is not removed');
ok(serf_does("remove=$first"), 'the old one is');
all_say('everywhere', { $second => 4 }, sub { keys_by_ours()->{Keys} // {} });
open my $f, '<', "$beta->{slice}{data_dir}/serf/local.keyring" or die $!;
is_deeply(JSON::PP::decode_json(do { local $/; <$f> }), [$second], 'and the file of ours says so');

# ---- and by one of ours
ok(ours_do('install', $small, RelayFactor => 2), 'one of ours installs a key, with relays');
ok(ours_do('use', $small), 'and uses it');
all_say('serf agrees', { $second => '4/4', $small => '4/4' }, \&keys_by_serf);
ok(ours_do('remove', $second), 'and removes the other');
all_say('serf agrees', { $small => '4/4' }, \&keys_by_serf);
my ($m, $r) = $delta->ask('gossip.keyring', { Verb => 'remove', Key => $small });
cmp_ok($r->[0]{NumErr}, '>', 0, 'the primary one stays') or diag explain $r;
is((values %{$r->[0]{Messages}})[0], 'Removing the primary key is not allowed', 'in words');
$pool->{keys} = [$small];
ok($pool->wait_agree, 'the pool has held together');

# ---- who comes later, and who may not
my $eta = $pool->serf('eta');
my $theta = $pool->gossipd('theta');
ok($pool->wait_agree, 'two more with the new key');
my $stranger = Serf::Gossipd->new($pool->_options('stranger', keys => [key(16)], join => undef, slice => { retry_join => [] }));
($m, $r) = $stranger->ask('gossip.join', { Addrs => ["$beta->{ip}:$pool->{port}"] });
is($m, undef, 'one with another key does not get in') or diag explain $r;
($m, $r) = $stranger->ask('gossip.join', { Addrs => ["$alpha->{ip}:$pool->{port}"] });
is($m, undef, 'not through serf either');
my $plain = Serf::Gossipd->new($pool->_options('plain', keys => undef, join => undef));
($m, $r) = $plain->ask('gossip.join', { Addrs => ["$beta->{ip}:$pool->{port}"] });
is($m, undef, 'nor one without');
ok($pool->wait_agree, 'nobody has noticed');
ok(!exists $alpha->members->{stranger} && !exists $beta->members->{plain}, 'no trace of them');

# ---- restarts read the file, and churn
$pool->kill($beta);
$pool->start($beta);
ok($pool->wait_agree, 'restarted, it reads its keyring') or diag $beta->log;
my $end = time + ($ENV{TEST_SLOW} ? 300 : 100);
my ($steps, $bad) = (0, 0);
while (time < $end && !$bad) {
	my @there = grep { $_->{name} !~ /^(?:alpha|beta)$/ } $pool->running;
	my @failed = grep { ($pool->{gone}{$_->{name}} // '') eq 'failed' } @{$pool->{members}};

	if (@failed && rand() < 0.6) {
		$pool->start($failed[rand @failed]);
	} elsif (@there > 1) {
		$pool->kill($there[rand @there]);
	}
	$bad = !$pool->wait_agree;
	$steps++;
}
ok(!$bad, "all agree through $steps steps of churn");
all_say('and the key is everywhere who is there', { $small => scalar(my @there = $pool->running) }, sub { keys_by_ours()->{Keys} // {} });
done_testing;
