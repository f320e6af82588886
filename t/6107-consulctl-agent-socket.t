#!/usr/bin/perl
# consulctl agent: what its own socket answers, and what garbage does to it.
use strict;
use warnings;
use IO::Select;
use IO::Socket::UNIX;
use Test::More;
use lib "$ENV{SRCDIR}/t/lib";
use Frame;
use Node;

my $n = Node->new(wait => 'agent');
my $path = "$n->{data_dir}/run/consulctl.sock";
my $c = Frame::Client->new($path);
my %pids = $n->pids;

my (undef, $status) = $c->ask('agent.status');
is_deeply [map { $_->{Name} } @$status], [qw(raftd gossipd checkd dnsd httpd)], 'the daemons in order of start';
is_deeply { map { $_->{Name} => $_->{Pid} } @$status }, \%pids, 'their pids';
is_deeply [map { "$_->{State} $_->{Restarts}" } @$status], [('ready 0') x 5], 'all ready';

kill 'KILL', $pids{checkd};
ok $n->wait_for(sub { my ($checkd) = grep { $_->{Name} eq 'checkd' } @{($c->ask('agent.status'))[1]};
	$checkd->{State} eq 'ready' && $checkd->{Restarts} == 1 && $checkd->{Pid} != $pids{checkd} }), 'a restart is counted';

my (undef, $info) = $c->ask('daemon.info');
is $info->{consulctl}{pid}, $n->{pid}, 'info';
is ref(($c->ask('daemon.metrics'))[1]), 'ARRAY', 'metrics';
ok +($c->ask('agent.reload'))[0], 'a reload';
like $n->log_text, qr/agent: Configuration reloaded/, 'is answered when it is done';

# ---- garbage

my %garbage = (
	'another protocol' => "GET / HTTP/1.1\r\n\r\n",
	'ones' => "\xff" x 4096,
	'a length beyond the limit' => pack('NCCnN', 1 << 31, 1, 0, 402, 1),
	'a malformed body' => pack('NCCnN', 3, 1, 0, 402, 1) . "\xc1\xc1\xc1",
	'an unknown operation' => pack('NCCnN', 1, 1, 0, 9999, 1) . "\x80",
	'an unknown kind' => pack('NCCnN', 1, 77, 0, 402, 1) . "\x80",
);
for my $what (sort keys %garbage) {
	my $s = IO::Socket::UNIX->new(Peer => $path) or die;
	syswrite $s, $garbage{$what};
	my $closed = IO::Select->new($s)->can_read(10) && !sysread($s, my $got, 1);
	ok $closed, "$what ends its connection";
}
is scalar @{($c->ask('agent.status'))[1]}, 5, 'and no other';
ok !defined(($c->ask('status.leader'))[0]), "another daemon's operation is an error";

# ---- the end

ok +($c->ask('agent.leave'))[0], 'leave is answered';
is $n->wait_exit, 0, 'and ends the agent';
ok !-e $path, 'and its socket';

done_testing;
