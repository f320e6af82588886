#!/usr/bin/perl
# gossipd is killed alone, under its agent: it comes back to its pool by itself, and its node never left.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Node;
use Test::More;
use Time::HiRes qw(sleep);

# { name => status } as this node sees it.
sub members { return { map { $_->{Name} => $_->{Status} } @{$_[0]->get_json('/v1/agent/members') // []} } }

sub wait_members
{
	my ($n, %want) = @_;

	return Node::wait_for($n, sub { my $m = eval { members($n) } // {}; return !grep { ($m->{$_} // 0) != $want{$_} } keys %want });
}

my $a = Node->new(dev => 1, name => 'a');
my $lan = "$a->{ip}:$a->{ports}{serf_lan}";
my $b = Node->new(client => 1, name => 'b', config => { start_join => [$lan] }, wait => 'agent');
ok(wait_members($a, a => 1, b => 1), 'two agents');

# The file takes half a second at most.
my $file = "$b->{data_dir}/serf/local.snapshot";
ok(Node::wait_for($b, sub { open my $f, '<', $file or return 0; local $/; return <$f> =~ /^alive: a /m }), 'the member is written down');
my %before = $b->pids;
kill 'KILL', $before{gossipd};
ok(Node::wait_for($b, sub { my %p = $b->pids; return $p{gossipd} && $p{gossipd} != $before{gossipd} }), 'a gossipd that was killed is started again');
ok(wait_members($b, a => 1, b => 1), 'and is in its pool again');
ok(wait_members($a, a => 1, b => 1), 'for the others too');
unlike($a->log_text, qr/EventMemberLeave: b/, 'it never left');

# start_join was for the start of the agent.
$a->kill;
%before = $b->pids;
kill 'KILL', $before{gossipd};
ok($b->wait_log(qr/start_join failed after a restart, going on: cluster=LAN/), 'start_join is no reason to end when only gossipd is new');
ok(wait_members($b, b => 1), 'it works on alone');
ok($b->running, 'and so does its agent');
done_testing;
