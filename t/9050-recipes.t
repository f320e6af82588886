#!/usr/bin/perl
# The lock and the semaphore as Consul's Go client makes them, under the contention of 50 clients and the loss of
# the leader with the lock's holder on it: never two holders of the lock, never more of the semaphore than its
# limit, everybody's turn comes, and LockIndex grows with every holder.
use strict;
use warnings;
use Fcntl;
use File::Temp ();
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);
use lib "$ENV{SRCDIR}/t/lib";
use Cluster;
use Recipes;

my $CLIENTS = 50;
my $ROUNDS = 2;
my $LIMIT = 3;

my $c = Cluster->new(servers => 3, clients => 0);
my $leader = $c->leader;
my @others = grep { $_ != $leader } $c->servers;
my $dir = File::Temp->newdir;
my @log = map { "$dir/$_" } qw(lock semaphore);

# A line appended whole, whoever else writes.
sub note_line
{
	my ($file, $line) = @_;

	sysopen my $fh, $file, O_WRONLY | O_APPEND | O_CREAT or POSIX::_exit(9);
	syswrite $fh, "$line\n";
	close $fh;
}

# Take a mark that nobody else may have at the same time.
sub mark
{
	my ($name) = @_;

	sysopen my $fh, "$dir/$name", O_WRONLY | O_CREAT | O_EXCL or return 0;
	close $fh;
	return 1;
}

# A child that runs code; its exit status tells what became of it.
sub child
{
	my ($code) = @_;
	my $pid = fork // die "fork: $!";

	return $pid if $pid;
	my $rc = eval { $code->() };
	note_line("$dir/died", $@) if $@;
	POSIX::_exit($@ ? 7 : $rc ? 0 : 1);
}

sub results
{
	my (@pids) = @_;
	my %n;

	for my $pid (@pids) {
		waitpid $pid, 0;
		$n{$?}++;
	}
	return \%n;
}

sub lines
{
	my ($file) = @_;

	open my $fh, '<', $file or return ();
	return map { chomp; $_ } <$fh>;
}

# ---- the lock: its first holder goes down together with the leader

my $victim = child(sub {
	my $l = Recipes::Lock->new($leader->url, 'recipe/leader', 'victim');
	my $index = $l->lock;

	note_line($log[0], "victim $index");
	mark('holder') or return 0;
	sleep 600;
	return 0;
});
ok $c->node(1)->wait_for(sub { -e "$dir/holder" }), 'one client holds the lock';

my @pids = map {
	my $i = $_;
	child(sub {
		for my $round (1 .. $ROUNDS) {
			my $l = Recipes::Lock->new($others[$i % 2]->url, 'recipe/leader', "client $i");
			my $index = $l->lock;

			mark('holder') or note_line("$dir/broken", "client $i took the lock, and somebody else held it");
			note_line($log[0], "$i.$round $index " . time);
			sleep rand 0.02;
			note_line("$dir/broken", "client $i lost the lock while it held it") if !$l->held;
			unlink "$dir/holder";
			$l->unlock or note_line("$dir/broken", "client $i could not release");
		}
		return 1;
	})
} 1 .. $CLIENTS;
# They all wait: each has its session.
ok $others[0]->wait_for(sub { @{$others[0]->get_json('/v1/session/list')} > $CLIENTS }), "$CLIENTS others wait for it";

my $killed = time;
$leader->kill;
kill 'KILL', $victim;
waitpid $victim, 0;
unlink "$dir/holder";
is_deeply results(@pids), { 0 => $CLIENTS }, 'the leader and the holder die; everybody else gets the lock, twice';
is_deeply [lines("$dir/broken")], [], 'never two held it, nobody lost it';
is_deeply [lines("$dir/died")], [], 'no request failed for good';

my @turns = lines($log[0]);
is scalar @turns, 1 + $CLIENTS * $ROUNDS, 'every turn is in the log';
my @index = map { (split)[1] } @turns;
is_deeply \@index, [sort { $a <=> $b } @index], 'LockIndex grows with each holder';
is scalar(keys %{{ map { $_ => 1 } @index }}), scalar @index, 'and no two have the same';
cmp_ok((split ' ', $turns[1])[2] - $killed, '>=', 15, 'after the lost session the lock delay of 15 s held');
is $others[0]->get_json('/v1/kv/recipe/leader')->[0]{Session}, undef, 'the lock is free in the end';

# ---- the semaphore: what was the leader's is back, and the new leader dies

$leader->start;
$c->wait_all;
# A server that came back votes again when it has been stable for a while; before, the next loss would be one too many.
ok $c->node(1)->wait_for(sub {
	my $h = $others[0]->get_json('/v1/operator/raft/configuration');
	return 3 == grep { $_->{Voter} } @{$h->{Servers}};
}), 'the lost server is back, and votes';
$leader = $c->leader;
@others = grep { $_ != $leader } $c->servers;
@pids = map {
	my $i = $_;
	child(sub {
		my $s = Recipes::Semaphore->new($others[$i % 2]->url, 'recipe/seats', "client $i", limit => $LIMIT);
		my $seat;

		$s->acquire;
		for (1 .. $LIMIT) {
			$seat = $_;
			last if mark("seat.$_");
			$seat = undef;
		}
		note_line("$dir/broken", "client $i has no seat: more than $LIMIT hold one") if !$seat;
		note_line($log[1], $i);
		sleep 0.05 + rand 0.05;
		unlink "$dir/seat.$seat" if $seat;
		return $s->release;
	})
} 1 .. $CLIENTS;
ok $others[0]->wait_for(sub { lines($log[1]) >= 5 }), 'a semaphore is handed on';
$leader->kill;
is_deeply results(@pids), { 0 => $CLIENTS }, 'the leader dies; everybody gets a seat';
is_deeply [lines("$dir/broken")], [], "never more than $LIMIT at once";
is_deeply [lines("$dir/died")], [], 'no request failed for good';
is scalar(lines($log[1])), $CLIENTS, 'each once';
my $end = JSON::PP::decode_json(MIME::Base64::decode_base64($others[0]->get_json('/v1/kv/recipe/seats/.lock')->[0]{Value}));
is_deeply $end, { Limit => $LIMIT, Holders => {} }, 'all seats are free in the end';

done_testing;
