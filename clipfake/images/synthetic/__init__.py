"""Images that the project makes itself: photographs' scenes, procedural ones, and what re-synthesis makes of them."""
