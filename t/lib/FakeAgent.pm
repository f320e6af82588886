# FakeAgent.pm - an HTTP server with canned answers, for tests of what asks an agent.
#
#	my $a = FakeAgent->new(
#		'GET /v1/status/leader' => '"127.0.0.1:8300"',
#		'GET /v1/kv/none' => [404, ''],
#		'PUT /v1/kv/a' => sub { my ($r) = @_; return [200, 'true', { 'X-Consul-Index' => 7 }] },
#	);
#	$a->addr; $a->requests;
#
# A value is a body, [status, body, headers], or code that is given the request
# ({method, path, query, headers, body}) in a process of its own. An answer may
# be { raw => BYTES } to be sent as it is. Anything else gets 404. Option
# unix => PATH listens there instead.
package FakeAgent;

use strict;
use warnings;
use File::Temp ();
use IO::Socket::INET;
use IO::Socket::UNIX;
use JSON::PP ();
use POSIX ();

sub new
{
	my ($class, %o) = @_;
	my $self = bless { owner => $$, log => File::Temp->new, unix => delete $o{unix} }, $class;

	if (defined $self->{unix}) {
		$self->{socket} = IO::Socket::UNIX->new(Local => $self->{unix}, Listen => 64) or die "listen: $!";
	} else {
		$self->{socket} = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 64, ReuseAddr => 1) or die "listen: $!";
		$self->{port} = $self->{socket}->sockport;
	}
	$self->{answers} = \%o;
	$self->{pid} = fork // die "fork: $!";
	if ($self->{pid} == 0) {
		$SIG{CHLD} = 'IGNORE';
		$SIG{TERM} = sub { CORE::kill('KILL', 0); };
		setpgrp 0, 0;
		$self->_accept;
		POSIX::_exit(0);
	}
	close delete $self->{socket};
	return $self;
}

sub addr { my ($self) = @_; return defined $self->{unix} ? "unix://$self->{unix}" : "127.0.0.1:$self->{port}"; }

# What was asked so far, in order.
sub requests
{
	my ($self) = @_;

	open my $f, '<', "$self->{log}" or die;
	return map { JSON::PP->new->latin1->decode($_) } <$f>;
}

sub _accept
{
	my ($self) = @_;

	for (;;) {
		my $c = $self->{socket}->accept or next;
		my $pid = fork // next;
		next if $pid;
		close $self->{socket};
		binmode $c;
		1 while $self->_serve($c);
		POSIX::_exit(0);
	}
}

sub _serve
{
	my ($self, $c) = @_;
	my ($head, $body) = ('', '');

	while ($head !~ /\r\n\r\n/) {
		defined(my $line = <$c>) or return 0;
		$head .= $line;
	}
	my ($first, @lines) = split /\r\n/, $head;
	my ($method, $target) = split ' ', $first;
	my %h = map { /^([^:]+):\s*(.*)/ ? (lc $1, $2) : () } @lines;
	my $n = $h{'content-length'} // 0;
	read $c, $body, $n if $n > 0;
	my ($path, $query) = split /\?/, $target, 2;
	my $r = { method => $method, path => $path, query => $query // '', headers => \%h, body => $body };
	open my $log, '>>', "$self->{log}";
	syswrite $log, JSON::PP->new->latin1->canonical->encode($r) . "\n";
	close $log;
	return _answer($c, $self->{answers}{"$method $path"}, $r);
}

sub _answer
{
	my ($c, $a, $r) = @_;

	$a = $a->($r) if ref $a eq 'CODE';
	$a = [404, ''] if !defined $a;
	if (ref $a eq 'HASH') {
		print $c $a->{raw};
		$c->flush;
		return 0;
	}
	my ($status, $body, $headers) = ref $a ? @$a : (200, $a);
	my %h = ('Content-Length' => length $body, 'X-Consul-Index' => 7, %{$headers // {}});
	print $c join("\r\n", "HTTP/1.1 $status Whatever", map { "$_: $h{$_}" } sort keys %h), "\r\n\r\n", $body;
	$c->flush;
	return 1;
}

sub DESTROY
{
	my ($self) = @_;

	return if !$self->{pid} || $$ != $self->{owner};
	local ($?, $@, $!);
	# Its process group: connections that are still being served are processes too.
	CORE::kill('KILL', -$self->{pid});
	CORE::kill('KILL', $self->{pid});
	waitpid $self->{pid}, 0;
}

1;
