#!/usr/bin/perl
# Each daemon in turn is SIGKILLed under a stream of writes and DNS queries: it is back within a second, every
# acknowledged write is there, warm names are answered throughout, and no listener refuses a connection.
use strict;
use warnings;
use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(sleep time);
use lib "$ENV{SRCDIR}/t/lib";
use Node;

my $n = Node->new(config => { services => [{ name => 'web', port => 80 }] });

ok $n->wait_for(sub { $n->dig('web.service.consul', '+short') eq "$n->{ip}\n" }), 'a warm name';

# worker(CODE) runs CODE in a child until told to stop; its result is what it prints.
sub worker
{
	my ($code) = @_;
	pipe my $r, my $w or die;
	my $pid = fork // die;
	if ($pid == 0) {
		my $go = 1;
		close $r;
		local $SIG{TERM} = sub { $go = 0 };
		my @out = $code->(sub { $go });
		print $w map { "$_\n" } @out;
		close $w;
		POSIX::_exit(0);
	}
	close $w;
	return { pid => $pid, out => $r };
}

sub finish
{
	my ($worker) = @_;
	kill 'TERM', $worker->{pid};
	my @lines = readline $worker->{out};
	chomp @lines;
	waitpid $worker->{pid}, 0;
	return @lines;
}

for my $daemon (qw(raftd httpd dnsd checkd gossipd)) {
	my %before = $n->pids;
	my $writer = worker(sub {
		my ($go) = @_;
		my @acked;
		for (my $i = 0; $go->(); $i++) {
			my ($status, undef, $body) = $n->http('PUT', "/v1/kv/$daemon/$i", "v$i");
			push @acked, $i if $status == 200 && $body =~ /^true/;
		}
		return @acked;
	});
	# Whatever is restarted, a TCP connection to HTTP and DNS is never refused.
	my $knocker = worker(sub {
		my ($go) = @_;
		my $refused = 0;
		while ($go->()) {
			for my $port (@{$n->{ports}}{qw(http dns)}) {
				my $s = IO::Socket::INET->new(PeerAddr => $n->{ip}, PeerPort => $port, Timeout => 10) or $refused++;
			}
			sleep 0.005;
		}
		return $refused;
	});
	my $asker = worker(sub {
		my ($go) = @_;
		my ($asked, $failed) = (0, 0);
		while ($go->()) {
			$asked++;
			$failed++ if $n->dig('web.service.consul', '+short') ne "$n->{ip}\n";
		}
		return "$asked $failed";
	});
	sleep 0.3;
	my $t0 = time;
	kill 'KILL', $before{$daemon};
	ok $n->wait_for(sub { my %p = $n->pids; $p{$daemon} && $p{$daemon} != $before{$daemon} }), "$daemon is started again";
	my ($status) = $n->http('PUT', "/v1/kv/$daemon/after", 'x');
	is $status, 200, 'and a write goes through';
	cmp_ok time - $t0, '<', $ENV{TEST_TIMEOUT} // 5, 'soon';
	sleep 0.5;
	my @acked = finish($writer);
	my ($refused) = finish($knocker);
	my ($asked, $failed) = split ' ', (finish($asker))[0];
	cmp_ok scalar @acked, '>', 0, scalar(@acked) . " writes acknowledged around the end of $daemon";
	my %there = map { $_ => 1 } map { s{.*/}{}r } @{$n->get_json("/v1/kv/$daemon/?keys")};
	is_deeply [grep { !$there{$_} } @acked], [], 'all of them are there';
	is $refused, 0, 'no connection was refused';
	# dig tries three times, 2 s each: dnsd itself may lose what was in its socket.
	is $failed, 0, "$asked questions for a warm name, all answered";
	my %after = $n->pids;
	is_deeply [grep { $_ ne $daemon && $after{$_} != $before{$_} } keys %before], [], 'the others went on undisturbed';
}

# Everything at once, as by the kernel or a power button.
my ($status) = $n->http('PUT', '/v1/kv/last', 'word');
is $status, 200, 'one more write';
my %all = $n->pids;
kill 'KILL', values %all, $n->{pid};
$n->wait_exit;
$n->start;
is_deeply [$n->ctl('kv', 'get', 'last')], [0, "word\n", ''], 'is there after everything was killed at once';
done_testing;
