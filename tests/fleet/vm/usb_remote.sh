# USB whose device is on another machine, which waits for a connection.
ip addr add 10.0.2.2/24 dev eth0
ip link set eth0 up
inside $(cat /attach) || echo "NO PHONE"
