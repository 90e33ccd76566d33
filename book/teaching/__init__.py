"""Tools for instructors: assignments, grading, quizzes, slides, the offline kit."""
