"""ROS messages to observations and actions to messages, by field names, without ROS."""
