#!/usr/bin/perl
# SIGTERM answers the writes that have arrived, in memory and on disk, and they are there afterwards.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use File::Temp ();
use Frame;
use JSON::PP ();
use Test::More;

my $tmp = File::Temp->newdir("raftd-stop-$$-XXXXXX", TMPDIR => 1);
my %slice = (node_name => 'n1', node_id => '4b1f7f0c-0001-4d0e-8000-000000000001', datacenter => 'dc1', server => JSON::PP::true,
	bootstrap_expect => 1, log_level => 'INFO');

# Writes and the signal reach a stopped process; both wait for it when it goes on. How many were answered.
sub stop_under_writes
{
	my ($d, $round) = @_;
	my $answers = 0;

	kill 'STOP', $d->{pid};
	$d->start('kv.apply', { Op => 'set', DirEnt => { Key => "r$round/$_", Value => 'x' } }) for 1 .. 20;
	kill 'TERM', $d->{pid};
	kill 'CONT', $d->{pid};
	while (my ($id, $meta, $ok) = $d->reply(10)) { $answers++ if $meta && $ok }
	is($d->wait, 0, 'it ends in order');
	return $answers;
}

for my $dev (1, 0) {
	my $d = Frame::Daemon->new('raftd', { %slice, $dev ? (dev_mode => JSON::PP::true) : (data_dir => "$tmp") });

	for my $round (1 .. 5) {
		$d->ask('kv.get', { Key => 'a' });	# there is a leader
		is(stop_under_writes($d, $round), 20, ($dev ? 'in memory' : 'on disk') . ': the writes that had arrived are answered');
		$d->spawn;
		$d->connect;
		next if $dev;
		my (undef, $list) = $d->ask('kv.list', { Key => "r$round/" });
		is(scalar @$list, 20, 'and there');
	}
}

done_testing;
