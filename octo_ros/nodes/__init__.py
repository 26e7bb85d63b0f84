"""Everything that touches rclpy: the controller node, the camera player and their parts."""
